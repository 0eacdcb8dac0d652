"""SD012: the learning rate is that of one device."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds
from saldiag.core.measurement import Distribution, Measurements
from saldiag.core.wording import at_line, number
from saldiag.rules.shared.update_ratios import INVARIANT


class RateOfOneDevice(Rule):
    """The batch size grows with the number of replicas, but the learning rate does not.

    ## What it does
    Reads the program: whether it multiplies the batch size by ``num_replicas_in_sync``, and whether
    the learning rate is computed from it, too. A schedule or a callback that sets the rate, and a
    program without an optimizer in its text are not judged.

    ## Why is this bad
    With N times the items per step an epoch has an Nth of the steps. At the same rate the model
    makes an Nth of the progress per epoch, and the additional devices save no time.

    ## Example
    ```python
    batch_size = 32 * strategy.num_replicas_in_sync
    optimizer = keras.optimizers.SGD(0.1)
    ```

    ## Use instead
    ```python
    batch_size = 32 * strategy.num_replicas_in_sync
    optimizer = keras.optimizers.SGD(0.1 * strategy.num_replicas_in_sync)
    ```

    ## Threshold
    - `replicas` = 2: smallest number of replicas. Goyal et al. (Accurate, Large Minibatch SGD,
      2017) multiply the rate of SGD by the factor of the batch size, after a warm-up; Malladi et
      al. (On the SDEs and Scaling Rules for Adaptive Gradient Algorithms, 2022) that of Adam by its
      square root.
    """

    code = "SD012"
    name = "rate-of-one-device"
    severity = "info"
    requires = (Distribution,)
    thresholds = {"replicas": 2}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        distribution = measured.need(Distribution)
        count = distribution.replicas
        if count < limits["replicas"] or distribution.batch_scaled is None:
            return
        if distribution.rate_scaled is None:
            raise CannotJudge("how the program sets the learning rate is unknown")
        if distribution.rate_scaled:
            return
        adaptive = distribution.optimizer in INVARIANT
        factor = count**0.5 if adaptive else count
        new = distribution.learning_rate * factor
        source = distribution.rate_source
        yield self.finding(
            f"the batch size is multiplied by the {count} replicas (threshold "
            f"{number(limits['replicas'])}), the learning rate "
            f"{number(distribution.learning_rate)} is not: an epoch has 1/{count} of the steps of "
            f"one device. Start from {'the square root of ' if adaptive else ''}{count} times the "
            f"rate{at_line(source)}",
            f"learning_rate={new:.3g}  # after a warm-up of some epochs",
            evidence={
                "replicas": count,
                "threshold": limits["replicas"],
                "learning_rate": distribution.learning_rate,
                "factor": factor,
            },
            source=source,
        )
