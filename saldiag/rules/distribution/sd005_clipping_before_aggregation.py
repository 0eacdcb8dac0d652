"""SD005: the gradients are clipped before they are summed."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds
from saldiag.core.measurement import Distribution, Measurements
from saldiag.core.wording import at_line, number, percent


class ClippingBeforeAggregation(Rule):
    """Gradients are clipped in each replica, before they are summed.

    ## What it does
    Reads the clipping arguments of the optimizer, which Keras 3 applies to the gradients of each
    replica, and finds clipping in the step itself. Counts in how many of the measured steps the
    limit is exceeded in a replica. Clipping that is never active is not reported, nor is clipping
    after the step's own sum over the replicas.

    ## Why is this bad
    The sum of N gradients clipped at a limit has a norm of up to N times the limit, and each
    replica is scaled by another factor: the direction is no longer that of the global batch, and
    the limit that was tuned on one device means something else on several.

    ## Example
    ```python
    optimizer = keras.optimizers.SGD(0.1, global_clipnorm=1.0)
    ```

    ## Use instead
    ```python
    gradients = tf.distribute.get_replica_context().all_reduce("SUM", gradients)
    gradients, _ = tf.clip_by_global_norm(gradients, 1.0)
    gradients = [g / strategy.num_replicas_in_sync for g in gradients]  # the optimizer sums them
    ```

    ## Threshold
    - `share` = 0.5: share of the measured steps in which the clipping of a replica is active.
      Clipping is defined on the gradient of the whole batch (Pascanu et al., On the Difficulty of
      Training Recurrent Neural Networks, 2013).
    """

    code = "SD005"
    name = "clipping-before-aggregation"
    severity = "warning"
    requires = (Distribution,)
    thresholds = {"share": 0.5}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        distribution = measured.need(Distribution)
        if distribution.replicas < 2:
            return
        active, how = _active_clipping(distribution)
        if not active >= limits["share"]:
            return
        yield self.finding(
            f"each of {distribution.replicas} replicas clips its own gradients ({how}), active in "
            f"{percent(active)} of the measured steps (threshold {percent(limits['share'])}). "
            f"Their sum has a norm of up to {distribution.replicas} times the limit. Sum first, "
            f"then clip{at_line(distribution.clip_source)}",
            'tf.distribute.get_replica_context().all_reduce("SUM", gradients)  # clip these, and '
            "divide them by the number of replicas: the optimizer sums them again",
            evidence={
                "active": active,
                "threshold": limits["share"],
                "clipping": distribution.clipping or "in the step",
                "limit": distribution.clip_limit,
            },
            source=distribution.clip_source,
        )


def _active_clipping(distribution: Distribution) -> tuple[float, str]:
    """Share of the steps in which a replica clips, and how it clips."""
    size = {
        "clipnorm": distribution.largest_norm,
        "clipvalue": distribution.largest_value,
        "global_clipnorm": distribution.gradient_norm,
    }.get(distribution.clipping)
    if size is not None:
        known = size[np.isfinite(size).all(axis=1)]
        if not len(known):
            raise CannotJudge("the gradients of the replicas are unknown")
        active = (known > distribution.clip_limit).any(axis=1).mean()
        return float(active), f"{distribution.clipping}={number(distribution.clip_limit)}"
    if distribution.clip_source is not None and not distribution.sums_in_step:
        return float(distribution.gradient_factor < 0.999), "in the step"
    return 0.0, ""
