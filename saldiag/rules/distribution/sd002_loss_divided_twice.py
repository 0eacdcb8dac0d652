"""SD002: the gradient is divided by the number of replicas once too often."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds
from saldiag.core.measurement import Distribution, Measurements
from saldiag.core.wording import at_line, number
from saldiag.rules.distribution._weights import terms_scaled_by
from saldiag.rules.shared.update_ratios import INVARIANT


class LossDividedTwice(Rule):
    """The loss is divided by the number of replicas twice, and the gradient is too small.

    ## What it does
    Measures the weight of the loss: the derivatives of each replica's loss by its values per item,
    summed over items and replicas. A mean over the global batch gives 1; one over the number of
    replicas means a division too many. It is silent if the factor can be a weight that the program
    writes as a number (0.5 on two replicas) or a name, and with one item per replica. Under an
    optimizer whose update does not depend on the scale of the gradient the finding is a warning.

    ## Why is this bad
    The losses of Keras divide by the number of replicas already when they are called in a replica.
    A second division makes the learning rate smaller by the number of replicas.

    ## Example
    ```python
    def step(x, y):
        with tf.GradientTape() as tape:
            loss = mean_squared_error(y, model(x)) / strategy.num_replicas_in_sync
    ```

    ## Use instead
    ```python
    def step(x, y):
        with tf.GradientTape() as tape:
            loss = mean_squared_error(y, model(x))  # a keras.losses.MeanSquaredError()
    ```

    ## Threshold
    - `deviation` = 0.01: largest relative deviation of the weight from one over the number of
      replicas. The mean is over the global batch in Goyal et al. (Accurate, Large Minibatch SGD,
      2017, remark 3). That losses divide in a replica is the code of Keras 3.15 (2026).
    """

    code = "SD002"
    name = "loss-divided-twice"
    severity = "error"
    requires = (Distribution,)
    thresholds = {"deviation": 0.01}
    explains = {"SD202": "anywhere", "SD702": "anywhere", "SD801": "anywhere", "SD803": "anywhere"}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        distribution = measured.need(Distribution)
        if distribution.replicas < 2:
            return
        count = distribution.replicas
        scaled = terms_scaled_by(distribution, 1 / count, limits["deviation"])
        if not scaled:
            return
        source = scaled[0].source
        yield self.finding(
            f"the gradient is 1/{count} of that of the global batch (weight of the loss "
            f"{number(scaled[0].weight)}, expected 1, threshold {number(limits['deviation'])} "
            f"around 1/{count}): the loss is divided by the number of replicas twice. Remove one "
            f"division{at_line(source)}",
            "loss = loss_fn(y, model(x))  # without / strategy.num_replicas_in_sync",
            evidence={
                "weight": scaled[0].weight,
                "replicas": count,
                "threshold": limits["deviation"],
                "optimizer": distribution.optimizer,
            },
            source=source,
            severity="warning" if distribution.optimizer in INVARIANT else "error",
        )
