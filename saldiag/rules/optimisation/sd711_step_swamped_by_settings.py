"""SD711: decay, a penalty, epsilon or momentum leaves nothing of the gradient's own step."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from saldiag.core.finding import Finding
from saldiag.core.measurement import (
    GradientHistory,
    LossCheck,
    Measurements,
    OverfitHistory,
    Wiring,
)
from saldiag.core.rule import Rule, Thresholds
from saldiag.rules.text import label, number
from saldiag.rules.updates import kernel_columns, step_ratios
from saldiag.rules.verdict import verdict_of


class StepSwampedBySettings(Rule):
    """A setting of the optimizer, or a penalty, is larger than what the gradient asks for.

    ## What it does
    For a model that the overfit test does not show to learn: (a) weight decay takes more of the
    weights in a step than the rest of it moves them, or the penalty in the loss is many times the
    loss of the data, and the weights have shrunk; (b) epsilon is many times the largest gradient,
    and steps are tiny; (c) momentum keeps hundreds of steps.

    ## Why is this bad
    The gradient of the data is there, and something else decides where the weights go: to 0, or
    nowhere, or far beyond.

    ## Example
    ```python
    optimizer = keras.optimizers.AdamW(1e-3, weight_decay=100.0)
    ```

    ## Use instead
    ```python
    optimizer = keras.optimizers.AdamW(1e-3, weight_decay=0.004)
    ```

    ## Threshold
    - `decay` = 0.5: rate times weight_decay, over |Δw| / |w| of the last steps; 0.004 is Keras' own
      (Loshchilov & Hutter, Decoupled Weight Decay Regularization, 2019, use 0.05 at most).
    - `penalty` = 10: penalty over the loss of the data, before training.
    - `shrunk` = 0.5: size of the weights at the end over that at the start.
    - `epsilon` = 10: epsilon over the largest gradient of the first steps, in the median.
    - `moved` = 1e-4: |Δw| / |w| of a step, below which epsilon has stopped it; 1e-3 is healthy
      (Karpathy, CS231n, 2015).
    - `momentum` = 0.995: momentum, from which on 200 steps are kept; 0.9 to 0.99 is usual
      (Sutskever et al., On the Importance of Initialization and Momentum in Deep Learning, 2013).
    """

    code = "SD711"
    name = "step-swamped-by-settings"
    severity = "error"
    requires = (Wiring, GradientHistory, OverfitHistory)
    thresholds = {
        "decay": 0.5, "penalty": 10, "shrunk": 0.5, "epsilon": 10, "moved": 1e-4,
        "momentum": 0.995,
    }  # fmt: skip
    explains = {
        "SD201": "anywhere", "SD202": "anywhere", "SD302": "anywhere", "SD305": "anywhere",
        "SD701": "anywhere", "SD702": "anywhere", "SD801": "anywhere",
    }  # fmt: skip

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        history, test = measured.need(GradientHistory), measured.need(OverfitHistory)
        if len(history.steps) < 20 or verdict_of(test)[0] == "learns":
            return
        swamp = (
            _decay(measured, history, limits)
            or _penalty(measured, history, limits)
            or _epsilon(measured, history, limits)
            or _momentum(measured, test, limits)
        )
        if swamp is not None:
            yield self.finding(
                f"{swamp.text} (threshold {number(limits[swamp.limit])}); the model does not learn",
                swamp.fix,
                evidence={
                    "setting": swamp.setting,
                    "value": swamp.value,
                    "threshold": limits[swamp.limit],
                },
                confidence=0.9,
            )


@dataclass(frozen=True)
class _Swamp:
    """What is too large: a setting, its value in units of ``limit``."""

    setting: str
    value: float
    limit: str
    text: str
    fix: str


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


def _decay(measured: Measurements, history: GradientHistory, limits: Thresholds) -> _Swamp | None:
    decay, moved = _setting(measured, "weight_decay"), _last_ratio(history)
    taken, shrunk = decay * measured.need(Wiring).learning_rate, _shrunk(history)
    if not (taken >= limits["decay"] * moved > 0 and shrunk <= limits["shrunk"]):
        return None
    return _Swamp(
        "weight_decay", taken / moved, "decay",
        f"weight_decay={number(decay)} takes {number(taken)} of the weights in each step, "
        f"{number(taken / moved)} of all that moves them, and leaves {number(shrunk)} of their "
        "size",
        f"keras.optimizers.{label(measured.need(Wiring).optimizer)}(weight_decay=0.004)",
    )  # fmt: skip


def _penalty(measured: Measurements, history: GradientHistory, limits: Thresholds) -> _Swamp | None:
    check, shrunk = measured.get(LossCheck), _shrunk(history)
    if check is None or not check.recomputed_training > 0:
        return None
    share = check.regularization / check.recomputed_training
    if not (share >= limits["penalty"] and shrunk <= limits["shrunk"]):
        return None
    return _Swamp(
        "regularizer", share, "penalty",
        f"the penalty on weights and activations is {number(check.regularization)}, "
        f"{number(share)} times the loss of the data, and leaves {number(shrunk)} of the weights' "
        "size",
        "kernel_regularizer=keras.regularizers.L2(1e-4)",
    )  # fmt: skip


def _epsilon(measured: Measurements, history: GradientHistory, limits: Thresholds) -> _Swamp | None:
    epsilon, moved = _setting(measured, "epsilon"), _last_ratio(history)
    largest = float(np.median(np.nan_to_num(history.maximum[:20]).max(axis=1, initial=0.0)))
    if not (largest > 0 and epsilon >= limits["epsilon"] * largest and moved < limits["moved"]):
        return None
    return _Swamp(
        "epsilon", epsilon / largest, "epsilon",
        f"epsilon={number(epsilon)} is {number(epsilon / largest)} times the largest gradient, "
        f"{number(largest)}, and steps are {number(moved)} of the weights",
        f"keras.optimizers.{label(measured.need(Wiring).optimizer)}(epsilon=1e-7)",
    )  # fmt: skip


def _momentum(measured: Measurements, test: OverfitHistory, limits: Thresholds) -> _Swamp | None:
    momentum = np.nanmax([_setting(measured, "momentum"), _setting(measured, "beta_1"), 0.0])
    risen = len(test.loss) and not np.median(test.loss[-20:]) < 0.9 * test.loss[0]
    if momentum < limits["momentum"] or not risen:
        return None
    return _Swamp(
        "momentum", float(momentum), "momentum",
        f"momentum {number(float(momentum))} adds up the last "
        f"{number(1 / max(1e-6, 1 - float(momentum)))} steps, and the loss does not come down",
        "keras.optimizers.SGD(learning_rate=0.01, momentum=0.9)",
    )  # fmt: skip
