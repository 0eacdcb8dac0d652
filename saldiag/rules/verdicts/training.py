"""The verdict of a training, from its own curves. Pure functions of what was measured."""

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
from saldiag.rules.shared.trend_statistics import falling_probability, first_and_last_quarter
from saldiag.rules.shared.wording import counted, number
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
"""What the verdict of a training rests on.

``learned``: loss at the end, as a share of the error of the best prediction that ignores the input,
below which the model has learned (the check against such a baseline is Karpathy's, A Recipe for
Training Neural Networks, 2019). ``halved``: loss at the end as a share of the loss at the begin,
below which it has where no such baseline is known. ``stuck``: share of the baseline above which
nothing was learned, if after at least ``steps`` steps and ``epochs`` epochs the loss does not fall
any more at the level ``significance`` (Mann 1945; Kendall 1975). The shares are our own choice.
"""


@dataclass(frozen=True)
class _Curve:
    """The loss of a training, by epoch or by measured step; all finite."""

    loss: Array
    unit: str
    steps: int

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

    A test that decides counts; where it does not, or there was none, the curves of the training do.
    """
    tested = measured.get(OverfitHistory)
    by_test = verdict_of(tested)
    if tested is not None and by_test[0] != "inconclusive":
        return by_test
    by_curves = verdict_of_training(measured)
    if tested is not None and by_curves[0] != "learns":
        return by_test
    return by_curves


def verdict_of_training(measured: Measurements) -> tuple[Verdict, str]:
    """The same from the curves of the training alone.

    *Learns*: the loss falls clearly below that of a prediction that ignores the input.
    *Does not learn* needs proof: a loss that is not finite, or one that after many steps is no
    better than that prediction and does not fall any more. The rest is *inconclusive*.
    """
    curve = _curve(measured)
    if curve is None:
        return "not_tested", "no training step with a known loss was taken"
    if not len(curve.loss):
        return "does_not_learn", "the loss is not finite"
    baseline = _baseline(measured)
    if baseline > 0:
        return _against(baseline, curve, measured)
    if curve.first > 0 and len(curve.loss) > 1:
        share = curve.last / curve.first
        if share < LIMITS["halved"]:
            return "learns", f"{curve.described}: a fall to {number(share)} of it"
        return "inconclusive", (
            f"{curve.described}; the error of a prediction that ignores the input is not known"
        )
    return "inconclusive", f"{curve.described}: too few values to tell"


def _against(baseline: float, curve: _Curve, measured: Measurements) -> tuple[Verdict, str]:
    share = curve.last / baseline
    against = (
        f"{curve.described}{_validation(measured)}; the best prediction that ignores the input "
        f"gets {number(baseline)}"
    )
    if share < LIMITS["learned"]:
        return "learns", against
    long = curve.steps >= LIMITS["steps"] and len(curve.loss) >= LIMITS["epochs"]
    falls = falling_probability(curve.loss) < LIMITS["significance"]
    if long and not falls and float(curve.loss.min()) > LIMITS["stuck"] * baseline:
        return "does_not_learn", f"{against}, and the loss does not fall any more"
    why = "it still falls" if falls else "too little, or too short a training, to tell"
    return "inconclusive", f"{against}: {why}"


def _validation(measured: Measurements) -> str:
    check = measured.get(ValidationCheck)
    if check is None:
        return ""
    parts = [
        f"{number(float(check.inference[-1]))} on validation items in inference mode",
        f"{number(float(check.training[-1]))} in training mode",
    ]
    if math.isfinite(float(check.reestimated[-1])):
        parts.append(f"{number(float(check.reestimated[-1]))} with statistics re-estimated")
    weights = " (without class or sample weights)" if check.weight_scale != 1.0 else ""
    return f", {', '.join(parts)}{weights}"


def _curve(measured: Measurements) -> _Curve | None:
    """The loss by epoch, or by measured step where epochs tell none; None where neither does.

    Empty where it is not finite at the end.
    """
    gradients, history = measured.get(GradientHistory), measured.get(TrainingHistory)
    steps = int(gradients.steps[-1]) + 1 if gradients is not None and len(gradients.steps) else 0
    if history is not None and "loss" in history.names:
        loss = np.atleast_2d(history.values)[history.names.index("loss")]
        if len(loss) > 1 or steps == 0:
            return _finite(loss, "epoch", steps)
    if gradients is not None and len(gradients.loss) and not np.isnan(gradients.loss).all():
        return _finite(gradients.loss, "measured step", steps)
    return None


def _finite(loss: Array, unit: str, steps: int) -> _Curve:
    ended = len(loss) and not np.isfinite(loss[-1])
    return _Curve(loss[:0] if ended else loss[np.isfinite(loss)], unit, steps)


def _baseline(measured: Measurements) -> float:
    facts = measured.get(DataFacts)
    return facts.baselines.independent if facts and facts.baselines else math.nan
