"""SD802: what is learnt shows in training mode only."""

from __future__ import annotations

import math
from collections.abc import Iterable

from saldiag.core.finding import Finding
from saldiag.core.measurement import Measurements, OverfitHistory, TrainableStatus, Wiring
from saldiag.core.rule import CannotJudge, Rule, Thresholds
from saldiag.rules.text import counted, number

MOMENTUM = 0.99
"""Keras' default."""


class InferenceLagsTraining(Rule):
    """The same samples are predicted well in training mode and badly in inference mode.

    ## What it does
    Compares the error in both modes at the end of the overfit test. Where it is gone after
    BatchNorm's moving statistics are estimated anew, they merely lag behind, and it is told (info)
    with the number of steps that they need. Where it stays, the modes compute different things,
    and it is a warning; in a run of so few steps that the statistics are still their start values
    it is told (info) as well, since what they were estimated from (a few samples under dropout or
    stochastic depth) is no better. The same holds where the statistics that were estimated anew
    make the error worse by far: they are the poor ones then, and clear nobody.

    ## Why is this bad
    ``val_loss`` is measured in inference mode: it stands still while the model learns, and early
    stopping ends the training or an evaluation calls a good model bad.

    ## Example
    ```python
    keras.layers.BatchNormalization()  # momentum 0.99, in a run of 60 steps
    ```

    ## Use instead
    ```python
    keras.layers.BatchNormalization(momentum=0.9)  # for short runs
    ```

    ## Threshold
    - `ratio` = 3: inference-mode error over training-mode error.
    - `gap` = 0.1: their difference, as a share of the best input-independent prediction's error.
    - `recalibrated` = 0.5: share of the gap that may remain after the moving statistics were
      estimated anew (Ioffe & Szegedy, Batch Normalization, 2015, algorithm 2, computes them so).
    - `held` = 0.8: share of their start values, momentum to the power of the steps, from which on
      the run is too short to tell.
    - `worse` = 1.5: error with the statistics estimated anew over the inference-mode error, from
      which on the estimate is too poor to tell.
    """

    code = "SD802"
    name = "inference-lags-training"
    severity = "warning"
    requires = (OverfitHistory,)
    thresholds = {"ratio": 3, "gap": 0.1, "recalibrated": 0.5, "held": 0.8, "worse": 1.5}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        history = measured.need(OverfitHistory)
        if not len(history.checked):
            raise CannotJudge("the overfit test ended before the two modes were measured")
        if not history.baseline_independent > 0:
            raise CannotJudge("no input-independent baseline above zero to compare the gap with")
        training, inference = float(history.training_error[-1]), float(history.inference_error[-1])
        gap = (inference - training) / history.baseline_independent
        if not (gap > limits["gap"] and inference > limits["ratio"] * training):
            return
        if training >= history.training_error[0]:
            return  # nothing was learnt that could lag
        yield self._lags(measured, training, inference, gap, limits)

    def _lags(
        self,
        measured: Measurements,
        training: float,
        inference: float,
        gap: float,
        limits: Thresholds,
    ) -> Finding:
        history = measured.need(OverfitHistory)
        again = history.recalibrated_error
        lags = math.isfinite(again) and again - training < limits["recalibrated"] * (
            inference - training
        )
        short = _held(measured, history) > limits["held"]
        poor = again > limits["worse"] * inference
        early = math.isfinite(again) and (short or poor)
        return self.finding(
            f"training-mode error {number(training)}, inference-mode error {number(inference)}: "
            f"apart by {number(gap)} of the baseline (threshold {number(limits['gap'])})"
            f"{_why(measured, history, lags, early)}",
            "keras.layers.BatchNormalization(momentum=0.9)"
            if lags or early
            else "model(x, training=False)  # compare it with training=True, layer by layer",
            evidence={
                "training_error": training,
                "inference_error": inference,
                "recalibrated_error": again,
                "gap": gap,
                "threshold": limits["gap"],
                "batchnorm_lags": lags,
            },
            severity="info" if lags or early else "warning",
            confidence=1.0 if math.isfinite(again) else 0.6,
        )


def _held(measured: Measurements, history: OverfitHistory) -> float:
    """Share of their start values that the slowest moving statistics still hold."""
    return float(_momentum(measured) ** len(history.loss))


def _why(measured: Measurements, history: OverfitHistory, lags: bool, early: bool) -> str:
    again = history.recalibrated_error
    if not math.isfinite(again):
        return ". Compare the modes layer by layer"
    if early and not lags:
        return (
            f"; {number(again)} with BatchNorm's statistics estimated anew from "
            f"{counted(history.items, 'item')}, which is no better. After "
            f"{counted(len(history.loss), 'step')} the moving ones still hold "
            f"{number(_held(measured, history))} of their start values. Train longer"
        )
    if not lags:
        return (
            f"; {number(again)} with BatchNorm's statistics estimated anew, so it is not they "
            "that lag. Compare the modes layer by layer"
        )
    best = history.baseline_independent
    rest = (
        ""
        if not math.isfinite(best) or again < best
        else f" (no better than the best fixed prediction, {number(best)}: so few samples give "
        "poor statistics)"
    )
    momentum, left = _momentum(measured), _held(measured, history)
    needed = math.ceil(math.log(0.01) / math.log(momentum)) if 0 < momentum < 1 else 1
    return (
        f"; {number(again)} with BatchNorm's statistics estimated anew{rest}. After "
        f"{counted(len(history.loss), 'step')} at momentum {number(momentum)} they hold "
        f"{number(left)} of their start values, and need {needed} steps to hold 0.01. "
        "Train longer, or lower momentum"
    )


def _momentum(measured: Measurements) -> float:
    """The slowest BatchNorm's, as measured or as configured."""
    status, wiring = measured.get(TrainableStatus), measured.get(Wiring)
    found = [row.momentum for row in status.normalization if row.training_mode] if status else []
    if not found and wiring is not None:
        kinds = (call for call in wiring.calls if call.kind == "BatchNormalization")
        found = [float(call.config["momentum"]) for call in kinds if "momentum" in call.config]
    return max(found, default=MOMENTUM)
