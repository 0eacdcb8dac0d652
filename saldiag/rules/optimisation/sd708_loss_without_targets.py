"""SD708: a loss that is the same whatever the targets are."""

from __future__ import annotations

import math
from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds
from saldiag.core.measurement import LossCheck, Measurements, Wiring
from saldiag.rules.shared.wording import label, number


class LossWithoutTargets(Rule):
    """The user's own loss does not depend on the targets.

    ## What it does
    Computes the loss of the same predictions against the targets, against each sample's
    neighbour's, against the targets turned upside down within their range, and against the lowest
    of them for all. Speaks up where all are equal. Only a loss function of the user's own is asked,
    and only where each target has its prediction and the targets are not all the same: a triplet
    loss, or a loss that the model computes by itself, has no use for targets. Nor has one that is
    the mean of the output, where the output is the loss.

    ## Why is this bad
    The model learns something, and it has nothing to do with the targets.

    ## Example
    ```python
    def loss(y_true, y_pred):
        return keras.ops.mean(keras.ops.square(y_pred - y_pred))
    ```

    ## Use instead
    ```python
    def loss(y_true, y_pred):
        return keras.ops.mean(keras.ops.square(y_true - y_pred))
    ```

    ## Threshold
    - `change` = 1e-6: largest change of the loss under other targets, as a share of it; rounding of
      float32 is 6e-8 (IEEE 754, 2019).
    """

    code = "SD708"
    name = "loss-without-targets"
    severity = "error"
    requires = (LossCheck, Wiring)
    thresholds = {"change": 1e-6}
    explains = {
        "SD201": "anywhere", "SD202": "anywhere", "SD302": "anywhere", "SD402": "anywhere",
        "SD801": "anywhere",
    }  # fmt: skip

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        check, wiring = measured.need(LossCheck), measured.need(Wiring)
        if not wiring.loss.startswith("custom:"):
            return
        if wiring.own_training:
            raise CannotJudge("the model computes its loss, or takes its step, by itself")
        values = (check.against_targets, *check.against_others)
        if len(values) < 3 or not all(math.isfinite(value) for value in values):
            raise CannotJudge("targets and predictions are not of one shape, or targets are equal")
        given = check.against_targets
        change = max(abs(value - given) for value in check.against_others)
        change /= max(abs(given), 1e-30)
        if change > limits["change"]:
            return
        if _is_linear(check):
            raise CannotJudge("the loss hands on its prediction: the model can hold the real loss")
        yield self.finding(
            f"{label(wiring.loss)} is {number(given)} against the targets, against those of other "
            f"samples, turned upside down or all alike: it changes by {number(change)} "
            f"(threshold {number(limits['change'])}). Compare y_pred with y_true in it",
            "return keras.ops.mean(keras.ops.square(y_true - y_pred))",
            evidence={"loss": given, "change": change, "threshold": limits["change"]},
            confidence=0.95,
        )


def _is_linear(check: LossCheck) -> bool:
    """Whether the loss rises as evenly as its predictions, as ``lambda y_true, y_pred: y_pred``."""
    if len(check.around_targets) < 2 or not math.isfinite(check.at_targets):
        return False
    toward, away = (value - check.at_targets for value in check.around_targets)
    rounding = 1e-6 * abs(check.at_targets)
    return abs(toward + away) <= rounding + 1e-3 * abs(toward) and abs(toward) > 10 * rounding
