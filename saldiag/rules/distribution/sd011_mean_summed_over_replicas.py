"""SD011: a reported mean is summed over the replicas."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds
from saldiag.core.measurement import Distribution, Measurements
from saldiag.core.wording import at_line, number


class MeanSummedOverReplicas(Rule):
    """A mean over each replica's items is summed over the replicas.

    ## What it does
    Looks at the calls of ``strategy.reduce`` inside a ``tf.function``: the sum over the replicas of
    a value that each of them averages over its own items. A later division by the number of
    replicas in the same function is taken into account, one outside of it is not.

    ## Why is this bad
    The result is the number of replicas times the mean: a loss that looks N times as large, an
    accuracy above 100 %. It is compared with runs on one device, and callbacks and papers with it.

    ## Example
    ```python
    accuracy = strategy.reduce("SUM", strategy.run(mean_accuracy, args=(x, y)), axis=None)
    ```

    ## Use instead
    ```python
    accuracy = strategy.reduce("MEAN", strategy.run(mean_accuracy, args=(x, y)), axis=None)
    ```

    ## Threshold
    - `deviation` = 0.01: largest relative deviation of the sum's weight from the number of
      replicas; a mean over the global batch has the weight 1 (Goyal et al., Accurate, Large
      Minibatch SGD, 2017, remark 3).
    """

    code = "SD011"
    name = "mean-summed-over-replicas"
    severity = "info"
    requires = (Distribution,)
    thresholds = {"deviation": 0.01}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        distribution = measured.need(Distribution)
        if distribution.replicas < 2:
            return
        count = distribution.replicas
        summed = [
            mean
            for mean in distribution.summed_means
            if abs(mean.weight / count - 1) <= limits["deviation"]
        ]
        if not summed:
            return
        source = summed[0].source
        what = "loss" if summed[0].is_loss else "metric"
        yield self.finding(
            f"a {what} that each replica averages over its own items is summed over the {count} "
            f"replicas (weight {number(summed[0].weight)}, expected 1, threshold "
            f"{number(limits['deviation'])} around {count}): the result is {count} times the "
            f"mean. Average it{at_line(source)}",
            'strategy.reduce("MEAN", value, axis=None)',
            evidence={
                "weight": summed[0].weight,
                "replicas": count,
                "is_loss": summed[0].is_loss,
                "threshold": limits["deviation"],
            },
            source=source,
        )
