"""SD707: training makes predictions worse, since the loss, or the step, has the wrong sign."""

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
from saldiag.rules.shared.output_heads import weighs_classes
from saldiag.rules.shared.trend_statistics import kendall_tau
from saldiag.rules.shared.update_ratios import step_ratios
from saldiag.rules.shared.wording import label, number


class LossWithWrongSign(Rule):
    """The loss is highest where predictions are the targets, or each step climbs it.

    ## What it does
    Computes the loss of predictions that equal the targets, and of predictions a little off them
    on either side. A loss that is lower on both sides, and that training has driven below zero, is
    negated: no loss in use does that, linear ones (Wasserstein) and losses of logits included.
    Under a training step of one's own it looks at the loss as well: one that rises steadily while
    steps are small is climbed, since a small step against the gradient lowers it.

    ## Why is this bad
    The optimizer does its work, and the loss goes where it was told to: to minus infinity, or up.

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
    - `drop` = 0.01: by how much the loss off the targets is lower, as a share of the distance
      between the losses at the targets and at the predictions; convex losses give less than 0
      (Boyd & Vandenberghe, Convex Optimization, 2004, section 3.1).
    - `tau` = 0.9: Kendall's tau of the first losses, up to which they are not steady (1938).
    - `first` = 40: losses that count as the first.
    - `rise` = 1.5: training-mode error at the end over that at the start.
    - `small` = 0.05: |Δw| / |w| of the first steps, in the median, below which they are small.
    """

    code = "SD707"
    name = "loss-with-wrong-sign"
    severity = "error"
    requires = (LossCheck, OverfitHistory)
    thresholds = {"drop": 0.01, "tau": 0.9, "first": 40, "rise": 1.5, "small": 0.05}
    explains = {
        "SD201": "anywhere", "SD202": "anywhere", "SD203": "anywhere", "SD204": "anywhere",
        "SD301": "anywhere", "SD302": "anywhere", "SD303": "anywhere", "SD304": "anywhere",
        "SD402": "anywhere", "SD701": "anywhere", "SD801": "anywhere", "SD802": "anywhere",
    }  # fmt: skip

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        check, history = measured.need(LossCheck), measured.need(OverfitHistory)
        drop = -1.0 if _turned_by_targets(measured) else _drop(check)
        end = float(history.loss[-1]) if len(history.loss) else math.nan
        if drop >= limits["drop"] and end < 0:
            yield self._negated(check, end, drop, limits["drop"])
        elif _climbs(measured, history, limits):
            yield self._climbed(history, limits)

    def _negated(self, check: LossCheck, end: float, drop: float, limit: float) -> Finding:
        return self.finding(
            f"{label(check.loss)} is {number(check.at_targets)} where predictions are the targets, "
            f"and {number(max(check.around_targets))} or less beside them: lower by {number(drop)} "
            f"of its range (threshold {number(limit)}). Training drives it from "
            f"{number(check.against_targets)} to {number(end)}, away from the targets. Take away "
            "the minus",
            "return keras.ops.mean(keras.ops.square(y_true - y_pred))  # without the minus",
            evidence={
                "at_targets": check.at_targets,
                "around_targets": list(check.around_targets),
                "drop": drop,
                "threshold": limit,
                "last_loss": end,
            },
        )

    def _climbed(self, history: OverfitHistory, limits: Thresholds) -> Finding:
        start, end = (float(history.training_error[i]) for i in (0, -1))
        return self.finding(
            f"the error rises steadily under small steps, from {number(start)} to {number(end)}, "
            f"{number(end / start)} times (threshold {number(limits['rise'])}): train_step takes "
            "its steps up the gradient. Look at the sign of loss and gradients in it",
            "self.optimizer.apply(gradients, self.trainable_variables)  # without a minus",
            evidence={
                "first_error": start,
                "last_error": end,
                "times": end / start,
                "threshold": limits["rise"],
            },
            confidence=0.9,
        )


def _turned_by_targets(measured: Measurements) -> bool:
    """Whether targets are weights with a sign of their own, as the advantages of actions are."""
    wiring, facts = measured.get(Wiring), measured.get(DataFacts)
    if wiring is None or facts is None:
        return False
    return any(weighs_classes(wiring, target) for target in facts.targets)


def _drop(check: LossCheck) -> float:
    """How far the loss falls off the targets, as a share of its range; below 0 where it rises."""
    values = (check.at_targets, check.against_targets, *check.around_targets)
    if len(check.around_targets) < 2 or not all(math.isfinite(value) for value in values):
        return -1.0
    span = check.at_targets - check.against_targets
    rises = max(check.around_targets) > check.at_targets + 1e-6 * abs(span)
    return -1.0 if span <= 0 or rises else (check.at_targets - min(check.around_targets)) / span


def _climbs(measured: Measurements, history: OverfitHistory, limits: Thresholds) -> bool:
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
