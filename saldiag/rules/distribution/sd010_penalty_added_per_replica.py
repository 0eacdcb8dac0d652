"""SD010: the regularization penalty is added once per replica."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds
from saldiag.core.measurement import Distribution, Measurements
from saldiag.core.wording import at_line, number
from saldiag.rules.distribution._weights import scale_of_step


class PenaltyAddedPerReplica(Rule):
    """Each replica adds the whole regularization penalty, and their sum is too large.

    ## What it does
    Compares the part of each replica's loss that comes from the weights alone with the sum of the
    weights' regularizers. It must be that sum divided by the number of replicas.

    ## Why is this bad
    The optimizer sums the gradients of the replicas. Items are different in each of them, but the
    weights are the same: a penalty that each replica adds in full counts once per replica. The
    regularization that was tuned on one device is eight times as strong on eight.

    ## Example
    ```python
    loss = tf.nn.compute_average_loss(each, global_batch_size=GLOBAL_BATCH)
    loss += tf.add_n(model.losses)
    ```

    ## Use instead
    ```python
    loss = tf.nn.compute_average_loss(each, global_batch_size=GLOBAL_BATCH)
    loss += tf.nn.scale_regularization_loss(tf.add_n(model.losses))
    ```

    ## Threshold
    - `deviation` = 0.01: largest relative deviation of the penalty from the sum of the
      regularizers. Weight decay is part of the loss of the whole batch (Goyal et al., Accurate,
      Large Minibatch SGD, 2017, remark 1).
    """

    code = "SD010"
    name = "penalty-added-per-replica"
    severity = "warning"
    requires = (Distribution,)
    thresholds = {"deviation": 0.01}
    explains = {"SD711": "anywhere"}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        distribution = measured.need(Distribution)
        if distribution.replicas < 2:
            return
        full = distribution.full_penalty
        known = np.isfinite(full) & np.isfinite(distribution.penalty) & (full > 0)
        if not known.any():
            return
        share = float(np.median(distribution.penalty[known] / full[known]))
        share *= scale_of_step(distribution)
        if abs(share - 1.0) > limits["deviation"]:
            return
        count, source = distribution.replicas, distribution.penalty_source
        yield self.finding(
            f"each of {count} replicas adds {number(share)} of the penalty of the weights' "
            f"regularizers (expected {number(1 / count)}, threshold {number(limits['deviation'])} "
            f"around 1), and the optimizer sums the gradients: the penalty counts {count} times. "
            f"Divide it by the number of replicas{at_line(source)}",
            "loss += tf.nn.scale_regularization_loss(tf.add_n(model.losses))",
            evidence={"share": share, "replicas": count, "threshold": limits["deviation"]},
            source=source,
        )
