"""Settings that outweigh the gradient in a step: weight decay, a penalty, epsilon, momentum."""

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
from saldiag.core.wording import label, number
from saldiag.rules.shared.update_ratios import kernel_columns, step_ratios


@dataclass(frozen=True)
class DominatingSetting:
    """A setting that is too large, with its measured value."""

    setting: str
    """Name of the argument: ``weight_decay``, ``regularizer``, ``epsilon`` or ``momentum``."""
    value: float
    """What the threshold is compared with."""
    limit: str
    """Name of the threshold."""
    text: str
    """What it does, ending with ``value``."""
    fix: str
    """What to change."""
    recommended: float = math.nan
    """Recommended value of the optimizer's argument; nan if it is not the optimizer's."""


def _optimizer_setting(measured: Measurements, name: str) -> float:
    """A number from the optimizer's config; nan if it is missing or not a number."""
    value: Any = measured.need(Wiring).optimizer_config.get(name)
    known = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if known else math.nan


def _remaining_weight_norm(history: GradientHistory) -> float:
    """Median over the weight matrices of the last recorded norm over the first; nan if unknown."""
    weights = history.weight_norm[:, kernel_columns(history)]
    first, last = weights[0], weights[-1]
    kept = np.isfinite(first) & np.isfinite(last) & (first > 0)
    return float(np.median(last[kept] / first[kept])) if kept.any() else math.nan


def _late_update_ratio(history: GradientHistory) -> float:
    """Median update-to-weight ratio of the second half of the steps; nan if unknown."""
    ratios = step_ratios(history)
    ratios = ratios[len(ratios) // 2 :]
    ratios = ratios[np.isfinite(ratios)]
    return float(np.median(ratios)) if len(ratios) else math.nan


def dominating_weight_decay(
    measured: Measurements, history: GradientHistory, limits: Thresholds
) -> DominatingSetting | None:
    """Weight decay, if it makes up most of each update and the weights have shrunk."""
    decay, moved = _optimizer_setting(measured, "weight_decay"), _late_update_ratio(history)
    taken, shrunk = decay * measured.need(Wiring).learning_rate, _remaining_weight_norm(history)
    if not (taken >= limits["decay"] * moved > 0 and shrunk <= limits["shrunk"]):
        return None
    return DominatingSetting(
        "weight_decay",
        taken / moved,
        "decay",
        f"weight_decay={number(decay)} removes {number(taken)} of the weights in each step and has "
        f"shrunk them to {number(shrunk)} of their initial norm; decay over update is "
        f"{number(taken / moved)}",
        f"keras.optimizers.{label(measured.need(Wiring).optimizer)}(weight_decay=0.004)",
        recommended=0.004,
    )


def dominating_penalty(
    measured: Measurements, history: GradientHistory, limits: Thresholds
) -> DominatingSetting | None:
    """The regularisation penalty, if it is many times the data loss and the weights have shrunk."""
    check, shrunk = measured.get(LossCheck), _remaining_weight_norm(history)
    if check is None or not check.recomputed_training > 0:
        return None
    share = check.regularization / check.recomputed_training
    if not (share >= limits["penalty"] and shrunk <= limits["shrunk"]):
        return None
    return DominatingSetting(
        "regularizer",
        share,
        "penalty",
        f"the regularisation penalty of {number(check.regularization)} has shrunk the weights to "
        f"{number(shrunk)} of their initial norm; penalty over data loss is {number(share)}",
        "kernel_regularizer=keras.regularizers.L2(1e-4)",
    )


def dominating_epsilon(
    measured: Measurements, history: GradientHistory, limits: Thresholds
) -> DominatingSetting | None:
    """Epsilon, if it is many times the largest gradient and the updates are tiny."""
    epsilon, moved = _optimizer_setting(measured, "epsilon"), _late_update_ratio(history)
    largest = float(np.median(np.nan_to_num(history.maximum[:20]).max(axis=1, initial=0.0)))
    if not (largest > 0 and epsilon >= limits["epsilon"] * largest and moved < limits["moved"]):
        return None
    return DominatingSetting(
        "epsilon",
        epsilon / largest,
        "epsilon",
        f"epsilon={number(epsilon)} limits the update-to-weight ratio to {number(moved)}; epsilon "
        f"over the largest gradient, {number(largest)}, is {number(epsilon / largest)}",
        f"keras.optimizers.{label(measured.need(Wiring).optimizer)}(epsilon=1e-7)",
        recommended=1e-7,
    )


def dominating_momentum(
    measured: Measurements, test: OverfitHistory, limits: Thresholds
) -> DominatingSetting | None:
    """Momentum, if it accumulates hundreds of steps and the loss does not fall."""
    momentum = np.nanmax(
        [_optimizer_setting(measured, "momentum"), _optimizer_setting(measured, "beta_1"), 0.0]
    )
    falls = not len(test.loss) or np.median(test.loss[-20:]) < 0.9 * test.loss[0]
    if momentum < limits["momentum"] or falls:
        return None
    return DominatingSetting(
        "momentum",
        float(momentum),
        "momentum",
        f"the optimizer accumulates the last {number(1 / max(1e-6, 1 - float(momentum)))} steps "
        f"and the loss does not fall; momentum is {number(float(momentum))}",
        "keras.optimizers.SGD(learning_rate=0.01, momentum=0.9)",
    )
