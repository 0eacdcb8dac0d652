"""SD802: what is learnt shows in training mode only."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds, source_of
from saldiag.core.measurement import (
    Measurements,
    OverfitHistory,
    StatisticsRow,
    TrainableStatus,
    ValidationCheck,
    Wiring,
)
from saldiag.rules.shared.wording import counted, label, number, percent
from saldiag.rules.verdicts.validation import Checked

MOMENTUM = 0.99
"""Keras' default."""
MOST_STEPS = 1_000_000
"""Where the momentum is 1, no number of steps is enough."""


class InferenceLagsTraining(Rule):
    """The same samples are predicted well in training mode and badly in inference mode.

    ## What it does
    In a training that validates, measures the error on a few validation items as they are validated
    and once more with BatchNorm's statistics re-estimated from training batches. Where that error
    is lower for certain (over items), the moving statistics lag behind the weights: an error where
    the model is good and much of it is lost in inference, otherwise a note. It is a note as well
    after fewer steps than the statistics average over, 1 / (1 - momentum), unless `val_loss` has
    parted from the loss over three epochs by then. It names the layers,
    and how many steps their statistics still need.

    In the overfit test, compares the error in both modes at its end. If the difference is gone once
    BatchNorm's statistics are re-estimated, they only lag (a note, with the number of steps that
    they need). If it remains, the modes compute different things, and it is a warning; after so few
    steps that the statistics are still their start values it is a note as well, since what they
    are re-estimated from (a few samples under dropout or stochastic depth) is no better. The same
    holds where the re-estimated statistics make the error worse by far.

    ## Why is this bad
    ``val_loss`` is measured in inference mode: it doesn't move while the model learns, early
    stopping ends the training, and a checkpoint keeps a worse epoch.

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
    - `lost` = 0.25: in a training, share of what was learned (error of the best prediction that
      ignores the input less the re-estimated error) that inference loses, from which on it is an
      error; our own choice.
    - `good` = 0.7: re-estimated error, as a share of that best prediction's, below which the model
      counts as good; our own choice.
    - `lags` = 0.1: distance of a moving variance from the batches', as a share of the latter, from
      which on a layer is named.
    """

    code = "SD802"
    name = "inference-lags-training"
    severity = "warning"
    requires = ()
    thresholds = {
        "ratio": 3, "gap": 0.1, "recalibrated": 0.5, "held": 0.8, "worse": 1.5,
        "lost": 0.25, "good": 0.7, "lags": 0.1,
    }  # fmt: skip
    explains = {
        "SD302": "anywhere", "SD712": "anywhere", "SD804": "anywhere",
        "SD806": "anywhere", "SD807": "anywhere",
    }  # fmt: skip

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        if measured.get(ValidationCheck) is not None:
            checked = Checked.of(measured)
            if checked.statistics_lag:
                yield self._lags_in_validation(measured, checked, limits)
                return
        yield from self._after_the_test(measured, limits)

    def _lags_in_validation(
        self, measured: Measurements, checked: Checked, limits: Thresholds
    ) -> Finding:
        check, lost, again = checked.check, checked.lost, checked.reestimated
        good = again < limits["good"] * checked.reference
        steps = int(check.steps[-1])
        # A trial of a few steps cannot be longer than the averages' own time.
        long = checked.strays or steps >= min(
            (1 / (1 - row.momentum) for row in check.statistics if row.momentum < 1), default=0
        )
        grave = good and lost >= limits["lost"] and long
        late = sorted(
            (row for row in check.statistics if row.excess > limits["lags"]),
            key=lambda row: -row.excess,
        )
        share = f"{percent(lost)} of what was learned" if math.isfinite(lost) else "a part of it"
        layers = tuple(row.path for row in late)
        return self.finding(
            f"the model is better than val_loss shows: error {number(checked.inference)} on "
            f"{counted(check.items, 'validation item')} in inference mode, {number(again)} with "
            f"BatchNorm's statistics re-estimated from training batches "
            f"({number(float(check.training[-1]))} in training mode). Inference loses {share} "
            f"(threshold {percent(limits['lost'])}){_late(late, steps)}",
            _momentum_fix(late, steps),
            layers=layers,
            evidence={
                "inference_error": checked.inference,
                "reestimated_error": again,
                "training_mode_error": float(check.training[-1]),
                "lost": lost,
                "threshold": limits["lost"],
                "steps": steps,
                "steps_needed": max((_needed(row) for row in late), default=0),
                "layers": len(late),
            },
            source=source_of(measured, layers[0]) if layers else None,
            severity="error" if grave else "info",
            confidence=1.0 if grave else 0.8,
        )

    def _after_the_test(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        history = measured.get(OverfitHistory)
        if history is None:
            if measured.get(ValidationCheck) is not None:
                return  # both modes agree as far as validation tells
            raise CannotJudge(measured.reason(OverfitHistory))
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


def _needed(row: StatisticsRow) -> int:
    """Steps after which the moving variance is within a tenth of the batches'; 0 if it is."""
    if not row.excess > 0.1:
        return 0
    if not 0 < row.momentum < 1:
        return 1 if row.momentum <= 0 else MOST_STEPS
    return min(MOST_STEPS, math.ceil(math.log(0.1 / row.excess) / math.log(row.momentum)))


def _late(rows: Sequence[StatisticsRow], steps: int) -> str:
    """Which layers lag, how far, and for how long still."""
    if not rows:
        return ""
    worst = rows[0]
    ratio = worst.variance_ratio
    far = f"{number(ratio)} times as large as" if ratio >= 1 else f"{number(ratio)} times"
    needed = max(map(_needed, rows))
    return (
        f". The statistics of {counted(len(rows), 'layer')} lag: the moving variance of "
        f"{label(worst.path)} is {far} its batches' after {counted(steps, 'step')} at "
        f"momentum {number(worst.momentum)}; {counted(needed, 'more step')} would bring all within "
        "a tenth"
    )


def _momentum_fix(rows: Sequence[StatisticsRow], steps: int) -> str:
    """The largest usual momentum that would have been fast enough."""
    excess = max((row.excess / row.momentum**steps for row in rows if row.momentum), default=1e3)
    excess = min(max(excess, 1.0), 1e6)
    able = [m for m in (0.98, 0.95, 0.9, 0.8, 0.7) if excess * m ** (steps / 2) < 0.1]
    now = max((row.momentum for row in rows), default=1.0)
    fitting = max((m for m in able if m < now), default=0.7)
    return (
        f"keras.layers.BatchNormalization(momentum={fitting})"
        "  # or re-estimate the statistics before validating"
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
