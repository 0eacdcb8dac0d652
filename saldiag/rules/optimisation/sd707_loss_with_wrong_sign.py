"""SD707: training makes predictions worse because the loss or the update has the wrong sign."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds
from saldiag.core.measurement import (
    DataFacts,
    GradientHistory,
    LossCheck,
    Measurements,
    OverfitHistory,
    Wiring,
)
from saldiag.core.wording import label, number
from saldiag.rules.shared.output_heads import weighs_classes
from saldiag.rules.shared.trend_statistics import kendall_tau
from saldiag.rules.shared.update_ratios import step_ratios

NO_DROP = -1.0
"""Stands for a loss that is not lower next to the targets."""


class LossWithWrongSign(Rule):
    """The loss is highest when predictions equal the targets, or each step increases it.

    ## What it does
    Computes the loss for predictions that equal the targets, and for predictions a little off on
    either side. A loss that is lower on both sides, and that training has driven below zero, is
    negated: no common loss behaves like this, including linear losses (Wasserstein) and losses of
    logits.

    With a custom training step, a loss that rises steadily while the steps are small is also
    reported: a small step against the gradient lowers the loss.

    ## Why is this bad
    The optimizer works, but it drives the loss to minus infinity, or upwards.

    ## Example
    ```python
    def loss(y_true, y_pred):
        return -keras.ops.mean(keras.ops.square(y_true - y_pred))
    ```

    ## Use instead
    ```python
    def loss(y_true, y_pred):
        return keras.ops.mean(keras.ops.square(y_true - y_pred))
    ```

    ## Threshold
    - `drop` = 0.01: by how much the loss next to the targets is lower, as a share of the difference
      between the losses at the targets and at the predictions; convex losses give less than 0 (Boyd
      & Vandenberghe, Convex Optimization, 2004, section 3.1).
    - `tau` = 0.9: least Kendall's tau of the first losses that counts as a steady rise (Kendall,
      1938).
    - `first` = 40: losses that count as the first.
    - `rise` = 1.5: training-mode error at the end over that at the start.
    - `small` = 0.05: |Δw| / |w| of the first steps (median), below which they are small.
    """

    code = "SD707"
    name = "loss-with-wrong-sign"
    severity = "error"
    requires = (LossCheck, OverfitHistory)
    thresholds = {"drop": 0.01, "tau": 0.9, "first": 40, "rise": 1.5, "small": 0.05}
    explains = {
        "SD201": "anywhere",
        "SD202": "anywhere",
        "SD203": "anywhere",
        "SD204": "anywhere",
        "SD301": "anywhere",
        "SD302": "anywhere",
        "SD303": "anywhere",
        "SD304": "anywhere",
        "SD402": "anywhere",
        "SD701": "anywhere",
        "SD801": "anywhere",
        "SD802": "anywhere",
    }

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        check, history = measured.need(LossCheck), measured.need(OverfitHistory)
        drop = NO_DROP if _targets_are_signed_weights(measured) else _drop_beside_targets(check)
        end = float(history.loss[-1]) if len(history.loss) else math.nan
        if drop >= limits["drop"] and end < 0:
            yield self._negated_loss(check, end, drop, limits["drop"])
        elif _train_step_climbs(measured, history, limits):
            yield self._rising_error(history, limits)

    def _negated_loss(self, check: LossCheck, end: float, drop: float, limit: float) -> Finding:
        return self.finding(
            f"{label(check.loss)} is {number(check.at_targets)} if predictions equal the targets, "
            f"but at most {number(max(check.around_targets))} next to them: lower by "
            f"{number(drop)} of its range (threshold {number(limit)}). Training drives it from "
            f"{number(check.against_targets)} to {number(end)}, away from the targets. Remove the "
            "minus sign",
            "return keras.ops.mean(keras.ops.square(y_true - y_pred))  # without the minus sign",
            evidence={
                "at_targets": check.at_targets,
                "around_targets": list(check.around_targets),
                "drop": drop,
                "threshold": limit,
                "last_loss": end,
            },
        )

    def _rising_error(self, history: OverfitHistory, limits: Thresholds) -> Finding:
        start, end = (float(history.training_error[i]) for i in (0, -1))
        return self.finding(
            f"small steps raise the error steadily from {number(start)} to {number(end)}, by a "
            f"factor of {number(end / start)} (threshold {number(limits['rise'])}): train_step "
            "moves up the gradient. Check the sign of its loss and gradients",
            "self.optimizer.apply(gradients, self.trainable_variables)  # without a minus sign",
            evidence={
                "first_error": start,
                "last_error": end,
                "times": end / start,
                "threshold": limits["rise"],
            },
            confidence=0.9,
        )


def _targets_are_signed_weights(measured: Measurements) -> bool:
    """Whether targets are weights that can be negative, such as the advantages of actions."""
    wiring, facts = measured.get(Wiring), measured.get(DataFacts)
    if wiring is None or facts is None:
        return False
    return any(weighs_classes(wiring, target) for target in facts.targets)


def _drop_beside_targets(check: LossCheck) -> float:
    """How much lower the loss is next to the targets, as a share of its range; < 0 if higher."""
    values = (check.at_targets, check.against_targets, *check.around_targets)
    if len(check.around_targets) < 2 or not all(math.isfinite(value) for value in values):
        return NO_DROP
    span = check.at_targets - check.against_targets
    rises = max(check.around_targets) > check.at_targets + 1e-6 * abs(span)
    return NO_DROP if span <= 0 or rises else (check.at_targets - min(check.around_targets)) / span


def _train_step_climbs(measured: Measurements, history: OverfitHistory, limits: Thresholds) -> bool:
    """Whether a custom training step raises the error steadily by small steps."""
    wiring, steps = measured.get(Wiring), measured.get(GradientHistory)
    if wiring is None or steps is None or not wiring.own_training:
        return False
    if wiring.loss in {"none", "custom:compute_loss"} or len(history.training_error) < 2:
        return False
    first = int(limits["first"])
    losses, ratios = history.loss[:first], step_ratios(steps)[:first]
    ratios = ratios[np.isfinite(ratios)]
    if len(losses) < 10 or not np.isfinite(losses).all() or not len(ratios):
        return False
    rose = history.training_error[-1] >= limits["rise"] * history.training_error[0] > 0
    steady = kendall_tau(losses) >= limits["tau"]
    return bool(rose and steady and np.median(ratios) < limits["small"])
