"""SD001: the gradient is as many times too large as there are replicas."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds
from saldiag.core.measurement import Distribution, Measurements
from saldiag.core.wording import at_line, number
from saldiag.rules.distribution._weights import terms_scaled_by
from saldiag.rules.shared.update_ratios import INVARIANT


class LossAveragedPerReplica(Rule):
    """Each replica averages the loss over its own items, and the sum of the gradients is too large.

    ## What it does
    Measures the weight of the loss: the derivatives of each replica's loss by its values per item,
    summed over items and replicas. A mean over the global batch gives 1. The number of replicas
    means that each of them divides by its own share of the batch. The rule also follows what the
    step does to the gradients before the optimizer sums them. It is silent if the factor can be a
    weight that the program writes as a number or a name, and with one item per replica. Under an
    optimizer whose update does not depend on the scale of the gradient (Adam, for example) the
    finding is a warning.

    ## Why is this bad
    The optimizer sums the gradients of the replicas. With a mean in each of them, the sum is that
    of the global batch times the number of replicas, and the learning rate is multiplied without
    anyone asking for it. The training that was tuned on one device diverges on eight.

    ## Example
    ```python
    def step(x, y):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(x) - y) ** 2)
    ```

    ## Use instead
    ```python
    def step(x, y):
        with tf.GradientTape() as tape:
            each = tf.reduce_sum((model(x) - y) ** 2, axis=-1)
            loss = tf.nn.compute_average_loss(each, global_batch_size=GLOBAL_BATCH)
    ```

    ## Threshold
    - `deviation` = 0.01: largest relative deviation of the weight from the number of replicas. The
      mean is over the global batch in Goyal et al. (Accurate, Large Minibatch SGD: Training
      ImageNet in 1 Hour, 2017), section 2 and remark 3.
    """

    code = "SD001"
    name = "loss-averaged-per-replica"
    severity = "error"
    requires = (Distribution,)
    thresholds = {"deviation": 0.01}
    explains = {"SD011": "anywhere", "SD203": "anywhere", "SD701": "anywhere", "SD801": "anywhere"}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        distribution = measured.need(Distribution)
        if distribution.replicas < 2:
            return
        count = distribution.replicas
        scaled = terms_scaled_by(distribution, count, limits["deviation"])
        if not scaled or distribution.sums_in_step:
            return  # SD006 reports a second sum
        source = scaled[0].source
        items = f"{distribution.items[0, 0]:.0f}" if distribution.items.size else "own"
        yield self.finding(
            f"the gradient is {count} times that of the global batch (weight of the loss "
            f"{number(scaled[0].weight)}, expected 1, threshold {number(limits['deviation'])} "
            f"around {count}): each of {count} replicas divides the loss by its {items} items, "
            "and the optimizer sums the gradients. Divide by the global batch "
            f"size{at_line(source)}",
            "loss = tf.nn.compute_average_loss(loss_per_item, global_batch_size=GLOBAL_BATCH)",
            evidence={
                "weight": scaled[0].weight,
                "replicas": count,
                "threshold": limits["deviation"],
                "optimizer": distribution.optimizer,
            },
            source=source,
            severity="warning" if distribution.optimizer in INVARIANT else "error",
        )
