"""SD007: the gradients are not summed over the replicas."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds
from saldiag.core.measurement import Distribution, Measurements
from saldiag.core.wording import label, number


class GradientsNeverSummed(Rule):
    """Each replica applies its own gradients, without a sum over the replicas.

    ## What it does
    Counts how often the gradients are summed over the replicas, in the step and in the optimizer.
    The finding needs both: no sum, and weights that differ between the replicas.

    ## Why is this bad
    The replicas train different models on different items, and only the first one is saved: the
    rest of the data has no effect on it.

    ## Example
    ```python
    class PerReplica(keras.optimizers.SGD):
        def _backend_update_step(self, grads, trainable_variables, learning_rate):
            for gradient, variable in zip(grads, trainable_variables):
                self.update_step(gradient, variable, learning_rate)
    ```

    ## Use instead
    ```python
    class Summed(keras.optimizers.SGD):
        def update_step(self, gradient, variable, learning_rate):
            self.assign_sub(variable, gradient * learning_rate)
    ```

    ## Threshold
    - `difference` = 1e-4: largest difference between two copies of a weight, relative to its root
      mean square. Without a sum in any step (an exact count) replicas drift apart; averaging them
      only now and then is a method of its own (Lin et al., Don't Use Large Mini-Batches, Use Local
      SGD, 2020).
    """

    code = "SD007"
    name = "gradients-never-summed"
    severity = "error"
    requires = (Distribution,)
    thresholds = {"difference": 1e-4}
    explains = {"SD004": "anywhere", "SD801": "anywhere"}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        distribution = measured.need(Distribution)
        if distribution.replicas < 2:
            return
        before, after = distribution.sums_in_step, distribution.sums_in_optimizer
        if before is None or after is None:
            raise CannotJudge("how the gradients are summed over the replicas is unknown")
        apart = [
            row
            for row in distribution.spread
            if row.role == "weight" and not row.difference <= limits["difference"]
        ]
        if before or after or not apart:
            return
        worst = max(apart, key=lambda row: row.difference)
        yield self.finding(
            f"no step sums the gradients over the {distribution.replicas} replicas, and their "
            f"weights differ by {number(worst.difference)} in {label(worst.path)} (threshold "
            f"{number(limits['difference'])}): each replica trains a model of its own",
            "optimizer.apply_gradients(zip(gradients, variables))  # of a Keras optimizer, in "
            "strategy.run",
            evidence={
                "sums": 0,
                "difference": worst.difference,
                "variable": worst.path,
                "threshold": limits["difference"],
            },
        )
