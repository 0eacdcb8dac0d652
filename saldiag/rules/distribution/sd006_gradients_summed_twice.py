"""SD006: the gradients are summed over the replicas twice."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds
from saldiag.core.measurement import Distribution, Measurements
from saldiag.core.wording import at_line, number
from saldiag.rules.distribution._weights import is_close
from saldiag.rules.shared.update_ratios import INVARIANT


class GradientsSummedTwice(Rule):
    """The step sums the gradients over the replicas, and the optimizer sums them again.

    ## What it does
    Counts how often the gradients are summed over the replicas: by ``all_reduce`` in the step, and
    by the optimizer, which always does it when it is called in a replica. The rule is silent if the
    step or the loss divides by the number of replicas to make up for it. Under an optimizer whose
    update does not depend on the scale of the gradient the finding is a warning.

    ## Why is this bad
    After the first sum every replica holds the gradient of the global batch. The second one
    multiplies it by the number of replicas, and the learning rate with it.

    ## Example
    ```python
    gradients = tape.gradient(loss, model.trainable_variables)
    gradients = tf.distribute.get_replica_context().all_reduce("SUM", gradients)
    optimizer.apply_gradients(zip(gradients, model.trainable_variables))
    ```

    ## Use instead
    ```python
    gradients = tape.gradient(loss, model.trainable_variables)
    optimizer.apply_gradients(zip(gradients, model.trainable_variables))
    ```

    ## Threshold
    - `sums` = 1: sums of the gradients over the replicas. One is exact (Goyal et al., Accurate,
      Large Minibatch SGD, 2017, section 2); that the optimizer sums is the code of Keras 3.15
      (2026).
    """

    code = "SD006"
    name = "gradients-summed-twice"
    severity = "error"
    requires = (Distribution,)
    thresholds = {"sums": 1}
    explains = {"SD203": "anywhere", "SD701": "anywhere", "SD801": "anywhere"}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        distribution = measured.need(Distribution)
        if distribution.replicas < 2:
            return
        before, after = distribution.sums_in_step, distribution.sums_in_optimizer
        if before is None or after is None:
            raise CannotJudge("how the gradients are summed over the replicas is unknown")
        if (
            not before
            or before + after <= limits["sums"]
            or not is_close(distribution.gradient_factor, 1.0)
        ):
            return
        if any(is_close(term.weight * distribution.replicas, 1.0) for term in distribution.terms):
            return
        count, source = distribution.replicas, distribution.sum_source
        yield self.finding(
            f"the gradients are summed over the {count} replicas {before + after} times (threshold "
            f"{number(limits['sums'])}): by all_reduce in the step, and by the optimizer. They are "
            f"{count} times those of the global batch. Remove the first sum{at_line(source)}",
            "optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))  # without "
            "all_reduce",
            evidence={
                "sums_in_step": before,
                "sums_in_optimizer": after,
                "replicas": count,
                "threshold": limits["sums"],
            },
            source=source,
            severity="warning" if distribution.optimizer in INVARIANT else "error",
        )
