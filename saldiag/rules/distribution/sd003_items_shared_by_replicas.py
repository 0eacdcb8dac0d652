"""SD003: replicas read the same items."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds
from saldiag.core.measurement import Distribution, Measurements
from saldiag.core.measurement.base import Array
from saldiag.core.wording import number


class ItemsSharedByReplicas(Rule):
    """Several replicas read the same items.

    ## What it does
    Compares two sums over the inputs of each replica, one of them weighted by position, in the
    first steps. The rule needs two steps with different inputs, so that data that never changes is
    not taken for shared items.

    ## Why is this bad
    The replicas compute the same gradient several times: the devices are paid for, and the batch is
    as small as that of one of them. A loss that is divided by the global batch size counts every
    item once per replica.

    ## Example
    ```python
    for x, y in dataset.batch(GLOBAL_BATCH):
        strategy.run(step, args=(x, y))
    ```

    ## Use instead
    ```python
    for x, y in strategy.experimental_distribute_dataset(dataset.batch(GLOBAL_BATCH)):
        strategy.run(step, args=(x, y))
    ```

    ## Threshold
    - `steps` = 2: measured steps in all of which two replicas must have equal inputs. Distinct
      shards are an assumption of synchronous training (Goyal et al., Accurate, Large Minibatch SGD,
      2017, section 3).
    """

    code = "SD003"
    name = "items-shared-by-replicas"
    severity = "warning"
    requires = (Distribution,)
    thresholds = {"steps": 2}
    explains = {"SD001": "anywhere", "SD013": "anywhere"}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        distribution = measured.need(Distribution)
        prints = distribution.fingerprints
        if distribution.replicas < 2:
            return
        if len(prints) < limits["steps"] or not np.isfinite(prints).all():
            raise CannotJudge("the inputs of the replicas are unknown")
        if len(np.unique(prints[:, 0, :], axis=0)) < 2:
            raise CannotJudge("the inputs of a replica do not change from step to step")
        sharing = _replicas_with_equal_inputs(prints)
        if not sharing:
            return
        items = distribution.items[0, 0]
        yield self.finding(
            f"{len(sharing)} of {distribution.replicas} replicas read the same {number(items)} "
            f"items in each of {len(prints)} measured steps (threshold "
            f"{number(limits['steps'])}). Distribute the dataset instead of passing the same "
            "batch to each replica",
            "dataset = strategy.experimental_distribute_dataset(dataset)  # batched by the "
            "global batch",
            evidence={
                "replicas_with_equal_inputs": len(sharing),
                "replicas": distribution.replicas,
                "steps": len(prints),
                "threshold": limits["steps"],
            },
        )


def _replicas_with_equal_inputs(prints: Array) -> list[int]:
    """The replicas whose inputs equal those of another replica in every step."""
    count = prints.shape[1]
    return [
        one
        for one in range(count)
        if any(
            np.allclose(prints[:, one], prints[:, other], rtol=1e-9, atol=0)
            for other in range(count)
            if other != one
        )
    ]
