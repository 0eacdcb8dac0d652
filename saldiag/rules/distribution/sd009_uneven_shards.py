"""SD009: the batch is split unevenly over the replicas."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds
from saldiag.core.measurement import Distribution, Measurements
from saldiag.core.wording import counted, number


class UnevenShards(Rule):
    """A replica reads no items, or far fewer than the others.

    ## What it does
    Counts the items of each replica in every step. A step in which a replica reads nothing is an
    error if its loss is then NaN. A split that is uneven in most of the measured steps is a warning
    if each replica averages over its own items.

    ## Why is this bad
    The last batch of a dataset rarely fills all replicas. The mean over no items is NaN, and one
    NaN is summed into the gradient of every replica. With a mean in each replica, an item of a
    small shard counts more than one of a large shard.

    ## Example
    ```python
    dataset = dataset.batch(GLOBAL_BATCH)
    ```

    ## Use instead
    ```python
    dataset = dataset.batch(GLOBAL_BATCH, drop_remainder=True)
    ```

    ## Threshold
    - `ratio` = 1.5: largest number of items of a replica over the smallest in a step; the mean in a
      replica equals that over the global batch for equal shards only (Goyal et al., Accurate, Large
      Minibatch SGD, 2017, remark 3). That the loss of no items is NaN is exact.
    """

    code = "SD009"
    name = "uneven-shards"
    severity = "error"
    requires = (Distribution,)
    thresholds = {"ratio": 1.5}
    explains = {"SD204": "anywhere", "SD303": "anywhere", "SD801": "anywhere"}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        distribution = measured.need(Distribution)
        if distribution.replicas < 2:
            return
        if not distribution.items.size:
            raise CannotJudge("the items of the replicas are unknown")
        empty = int(distribution.empty_nonfinite.max(initial=0))
        if empty:
            yield self.finding(
                f"a replica reads no items in {counted(empty, 'step')} of {distribution.steps}, "
                f"and its loss is NaN there (threshold {number(limits['ratio'])} for the split): "
                "the last batch does not fill the replicas. Drop it, or divide a sum by the "
                "global batch size",
                "dataset = dataset.batch(GLOBAL_BATCH, drop_remainder=True)",
                evidence={"empty_steps": empty, "threshold": limits["ratio"]},
            )
            return
        ratio = _usual_ratio(distribution)
        averaged = any(term.averaged for term in distribution.terms)
        if not averaged or not ratio >= limits["ratio"]:
            return
        yield self.finding(
            f"the replicas read {listed_items(distribution)} items: the largest share is "
            f"{number(ratio)} times the smallest (threshold {number(limits['ratio'])}), and each "
            "replica averages over its own. An item of the smallest share counts most. Split "
            "batches evenly",
            "dataset = dataset.batch(GLOBAL_BATCH, drop_remainder=True)  # a multiple of the "
            "replicas",
            evidence={"ratio": ratio, "threshold": limits["ratio"]},
            severity="warning",
        )


def _usual_ratio(distribution: Distribution) -> float:
    """Median over the measured steps of the largest over the smallest share of the batch."""
    items = distribution.items
    ratios = items.max(axis=1) / np.maximum(items.min(axis=1), 1e-9)
    return float(np.median(ratios))


def listed_items(distribution: Distribution) -> str:
    """The items of each replica in the first step, as text."""
    return ", ".join(number(float(count)) for count in distribution.items[0][:8])
