"""SD708: the loss does not depend on the targets."""

from __future__ import annotations

import math
from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds
from saldiag.core.measurement import LossCheck, Measurements, Wiring
from saldiag.core.wording import label, number


class LossWithoutTargets(Rule):
    """A custom loss does not depend on the targets.

    ## What it does
    Computes the loss of the same predictions for the targets, for the targets of neighbouring
    samples, for targets inverted within their range, and for their lowest value everywhere. Reports
    the loss if all results are equal. Only custom loss functions are checked, and only if targets
    and predictions have the same shape and the targets vary: a triplet loss, or a loss that the
    model computes itself, does not need targets. Neither does the mean of the output, if the output
    is the loss.

    ## Why is this bad
    Whatever the model learns is unrelated to the targets.

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
    - `change` = 1e-6: largest relative change of the loss for other targets; rounding in float32 is
      6e-8 (IEEE 754, 2019).
    """

    code = "SD708"
    name = "loss-without-targets"
    severity = "error"
    requires = (LossCheck, Wiring)
    thresholds = {"change": 1e-6}
    explains = {
        "SD201": "anywhere",
        "SD202": "anywhere",
        "SD302": "anywhere",
        "SD402": "anywhere",
        "SD801": "anywhere",
    }

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        check, wiring = measured.need(LossCheck), measured.need(Wiring)
        if not wiring.loss.startswith("custom:"):
            return
        if wiring.own_training:
            raise CannotJudge("the model has a custom compute_loss or train_step")
        values = (check.against_targets, *check.against_others)
        if len(values) < 3 or not all(math.isfinite(value) for value in values):
            raise CannotJudge("targets and predictions differ in shape, or all targets are equal")
        given = check.against_targets
        change = max(abs(value - given) for value in check.against_others)
        change /= max(abs(given), 1e-30)
        if change > limits["change"]:
            return
        if _returns_its_prediction(check):
            raise CannotJudge(
                "the loss returns its prediction: the model can compute the real loss itself"
            )
        yield self.finding(
            f"{label(wiring.loss)} is {number(given)} and changes by {number(change)} (threshold "
            f"{number(limits['change'])}) when the targets are exchanged between samples, inverted "
            "or all set to the lowest value. Compare y_pred with y_true in it",
            "return keras.ops.mean(keras.ops.square(y_true - y_pred))",
            evidence={"loss": given, "change": change, "threshold": limits["change"]},
            confidence=0.95,
        )


def _returns_its_prediction(check: LossCheck) -> bool:
    """Whether the loss is linear in the predictions, as ``lambda y_true, y_pred: y_pred`` is."""
    if len(check.around_targets) < 2 or not math.isfinite(check.at_targets):
        return False
    toward, away = (value - check.at_targets for value in check.around_targets)
    rounding = 1e-6 * abs(check.at_targets)
    return abs(toward + away) <= rounding + 1e-3 * abs(toward) and abs(toward) > 10 * rounding
