"""What in a step is larger than the gradient's part of it: decay, a penalty, epsilon, momentum."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from saldiag.core.findings.rule import Thresholds
from saldiag.core.measurement import (
    GradientHistory,
    LossCheck,
    Measurements,
    OverfitHistory,
    Wiring,
)
from saldiag.rules.shared.update_ratios import kernel_columns, step_ratios
from saldiag.rules.shared.wording import label, number


@dataclass(frozen=True)
class Swamp:
    """What is too large: a setting, its value in units of ``limit``."""

    setting: str
    value: float
    limit: str
    text: str
    fix: str
    better: float = math.nan
    """What the optimizer's setting has to be; nan where it is not the optimizer's."""


def _setting(measured: Measurements, name: str) -> float:
    value: Any = measured.need(Wiring).optimizer_config.get(name)
    known = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if known else math.nan


def _shrunk(history: GradientHistory) -> float:
    """Size of the matrices at the last recorded step over that at the first, in the median."""
    weights = history.weight_norm[:, kernel_columns(history)]
    first, last = weights[0], weights[-1]
    kept = np.isfinite(first) & np.isfinite(last) & (first > 0)
    return float(np.median(last[kept] / first[kept])) if kept.any() else math.nan


def _last_ratio(history: GradientHistory) -> float:
    ratios = step_ratios(history)
    ratios = ratios[len(ratios) // 2 :]
    ratios = ratios[np.isfinite(ratios)]
    return float(np.median(ratios)) if len(ratios) else math.nan


def by_decay(measured: Measurements, history: GradientHistory, limits: Thresholds) -> Swamp | None:
    """Weight decay takes more of the weights than moves them otherwise, and they have shrunk."""
    decay, moved = _setting(measured, "weight_decay"), _last_ratio(history)
    taken, shrunk = decay * measured.need(Wiring).learning_rate, _shrunk(history)
    if not (taken >= limits["decay"] * moved > 0 and shrunk <= limits["shrunk"]):
        return None
    return Swamp(
        "weight_decay", taken / moved, "decay",
        f"weight_decay={number(decay)} takes {number(taken)} of the weights in each step, "
        f"{number(taken / moved)} of all that moves them, and leaves {number(shrunk)} of their "
        "size",
        f"keras.optimizers.{label(measured.need(Wiring).optimizer)}(weight_decay=0.004)",
        better=0.004,
    )  # fmt: skip


def by_penalty(
    measured: Measurements, history: GradientHistory, limits: Thresholds
) -> Swamp | None:
    """The penalty in the loss is many times the loss of the data, and the weights have shrunk."""
    check, shrunk = measured.get(LossCheck), _shrunk(history)
    if check is None or not check.recomputed_training > 0:
        return None
    share = check.regularization / check.recomputed_training
    if not (share >= limits["penalty"] and shrunk <= limits["shrunk"]):
        return None
    return Swamp(
        "regularizer", share, "penalty",
        f"the penalty on weights and activations is {number(check.regularization)}, "
        f"{number(share)} times the loss of the data, and leaves {number(shrunk)} of the weights' "
        "size",
        "kernel_regularizer=keras.regularizers.L2(1e-4)",
    )  # fmt: skip


def by_epsilon(
    measured: Measurements, history: GradientHistory, limits: Thresholds
) -> Swamp | None:
    """Epsilon is many times the largest gradient, and steps are tiny."""
    epsilon, moved = _setting(measured, "epsilon"), _last_ratio(history)
    largest = float(np.median(np.nan_to_num(history.maximum[:20]).max(axis=1, initial=0.0)))
    if not (largest > 0 and epsilon >= limits["epsilon"] * largest and moved < limits["moved"]):
        return None
    return Swamp(
        "epsilon", epsilon / largest, "epsilon",
        f"epsilon={number(epsilon)} is {number(epsilon / largest)} times the largest gradient, "
        f"{number(largest)}, and steps are {number(moved)} of the weights",
        f"keras.optimizers.{label(measured.need(Wiring).optimizer)}(epsilon=1e-7)",
        better=1e-7,
    )  # fmt: skip


def by_momentum(measured: Measurements, test: OverfitHistory, limits: Thresholds) -> Swamp | None:
    """Momentum keeps hundreds of steps, and the loss does not come down."""
    momentum = np.nanmax([_setting(measured, "momentum"), _setting(measured, "beta_1"), 0.0])
    risen = len(test.loss) and not np.median(test.loss[-20:]) < 0.9 * test.loss[0]
    if momentum < limits["momentum"] or not risen:
        return None
    return Swamp(
        "momentum", float(momentum), "momentum",
        f"momentum {number(float(momentum))} adds up the last "
        f"{number(1 / max(1e-6, 1 - float(momentum)))} steps, and the loss does not come down",
        "keras.optimizers.SGD(learning_rate=0.01, momentum=0.9)",
    )  # fmt: skip
