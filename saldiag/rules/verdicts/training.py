"""The verdict of a training, from its own loss curve. Pure functions of the measurements."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from saldiag.core.findings.diagnosis import Verdict
from saldiag.core.measurement import (
    DataFacts,
    GradientHistory,
    Measurements,
    OverfitHistory,
    TrainingHistory,
    ValidationCheck,
)
from saldiag.core.wording import counted, number
from saldiag.rules.shared.trend_statistics import falling_probability, first_and_last_quarter
from saldiag.rules.verdicts.overfit import verdict_of

Array = np.ndarray[Any, Any]

LIMITS: dict[str, float] = {
    "learned": 0.8,
    "halved": 0.5,
    "stuck": 0.98,
    "steps": 200,
    "epochs": 8,
    "significance": 0.05,
}
"""Thresholds of a training's verdict.

``learned``: final loss, as a share of the baseline error (of the best prediction that ignores the
input), below which the model has learned (comparing with such a baseline: Karpathy, A Recipe for
Training Neural Networks, 2019). ``halved``: final loss, as a share of the initial loss, below which
the model has learned if the baseline error is unknown. ``stuck``: share of the baseline error above
which nothing was learned, if after at least ``steps`` steps and ``epochs`` epochs the loss no
longer falls at the level ``significance`` (Mann 1945; Kendall 1975). The shares are our own choice.
"""


@dataclass(frozen=True)
class _LossCurve:
    """The finite losses of a training: L values, by epoch or by measured step."""

    loss: Array
    """L values; empty if the last loss is not finite."""
    unit: str
    """``epoch`` or ``measured step``."""
    steps: int
    """Training steps taken; 0 if unknown."""

    @property
    def first(self) -> float:
        return first_and_last_quarter(self.loss)[0]

    @property
    def last(self) -> float:
        return first_and_last_quarter(self.loss)[1]

    @property
    def described(self) -> str:
        return (
            f"loss {number(self.first)} → {number(self.last)} in "
            f"{counted(len(self.loss), self.unit)}"
        )


def verdict_from(measured: Measurements) -> tuple[Verdict, str]:
    """The verdict and its reason in one sentence, from the overfit test or the training's curves.

    A conclusive test decides. Otherwise, or without a test, the training's curves do.
    """
    if measured.changing_loss:
        return "inconclusive", measured.changing_loss
    tested = measured.get(OverfitHistory)
    by_test = verdict_of(tested)
    if tested is not None and by_test[0] != "inconclusive":
        return by_test
    by_curves = verdict_of_training(measured)
    if tested is not None and by_curves[0] != "learns":
        return by_test
    return by_curves


def verdict_of_training(measured: Measurements) -> tuple[Verdict, str]:
    """The verdict and its reason in one sentence, from the training's curves alone.

    *Learns*: the loss falls clearly below that of a prediction that ignores the input. *Does not
    learn* needs proof: a non-finite loss, or one that after many steps is no better than that
    prediction and no longer falls. Everything else is *inconclusive*.
    """
    curve = _loss_curve(measured)
    if curve is None:
        return "not_tested", "no training step with a known loss was taken"
    if not len(curve.loss):
        return "does_not_learn", "the loss is not finite"
    baseline = _baseline_error(measured)
    if baseline > 0:
        return _verdict_against_baseline(baseline, curve, measured)
    if curve.first > 0 and len(curve.loss) > 1:
        share = curve.last / curve.first
        if share < LIMITS["halved"]:
            return "learns", f"{curve.described}: it fell to {number(share)} of its initial value"
        return "inconclusive", (
            f"{curve.described}; the error of a prediction that ignores the input is unknown"
        )
    return "inconclusive", f"{curve.described}: too few values to decide"


def _verdict_against_baseline(
    baseline: float, curve: _LossCurve, measured: Measurements
) -> tuple[Verdict, str]:
    share = curve.last / baseline
    comparison = (
        f"{curve.described}{_validation_errors_text(measured)}; the best prediction that ignores "
        f"the input gets {number(baseline)}"
    )
    if share < LIMITS["learned"]:
        return "learns", comparison
    long = curve.steps >= LIMITS["steps"] and len(curve.loss) >= LIMITS["epochs"]
    falls = falling_probability(curve.loss) < LIMITS["significance"]
    if long and not falls and float(curve.loss.min()) > LIMITS["stuck"] * baseline:
        return "does_not_learn", f"{comparison}, and the loss no longer falls"
    why = "it still falls" if falls else "too little progress or too few steps to decide"
    return "inconclusive", f"{comparison}: {why}"


def _validation_errors_text(measured: Measurements) -> str:
    """The last validation errors in both modes; empty without a validation check."""
    check = measured.get(ValidationCheck)
    if check is None:
        return ""
    parts = [
        f"{number(float(check.inference[-1]))} on validation samples in inference mode",
        f"{number(float(check.training[-1]))} in training mode",
    ]
    if math.isfinite(float(check.reestimated[-1])):
        parts.append(f"{number(float(check.reestimated[-1]))} with statistics re-estimated")
    weights = " (without class or sample weights)" if check.weight_scale != 1.0 else ""
    return f", {', '.join(parts)}{weights}"


def _loss_curve(measured: Measurements) -> _LossCurve | None:
    """The loss by epoch, or by measured step if epochs have none; None if neither has.

    Empty if the last loss is not finite.
    """
    gradients, history = measured.get(GradientHistory), measured.get(TrainingHistory)
    steps = int(gradients.steps[-1]) + 1 if gradients is not None and len(gradients.steps) else 0
    if history is not None and "loss" in history.names:
        loss = np.atleast_2d(history.values)[history.names.index("loss")]
        if len(loss) > 1 or steps == 0:
            return _finite_loss_curve(loss, "epoch", steps)
    if gradients is not None and len(gradients.loss) and not np.isnan(gradients.loss).all():
        return _finite_loss_curve(gradients.loss, "measured step", steps)
    return None


def _finite_loss_curve(loss: Array, unit: str, steps: int) -> _LossCurve:
    ended = len(loss) and not np.isfinite(loss[-1])
    return _LossCurve(loss[:0] if ended else loss[np.isfinite(loss)], unit, steps)


def _baseline_error(measured: Measurements) -> float:
    """Error of the best prediction that ignores the input; nan if unknown."""
    facts = measured.get(DataFacts)
    return facts.baselines.independent if facts and facts.baselines else math.nan
