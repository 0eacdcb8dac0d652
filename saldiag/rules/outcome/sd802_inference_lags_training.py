"""SD802: the model is good in training mode and poor in inference mode."""

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
from saldiag.core.wording import counted, label, number, percent
from saldiag.rules.verdicts.validation import Checked

DEFAULT_MOMENTUM = 0.99
"""Keras' default."""
MAX_STEPS = 1_000_000
"""Upper bound of the reported steps: with a momentum of 1, no number of steps is enough."""


class InferenceLagsTraining(Rule):
    """The same samples are predicted well in training mode and poorly in inference mode.

    ## What it does
    In a training with validation, measures the error on a few validation samples in inference mode,
    and again with BatchNorm's statistics re-estimated from training batches. If the second error is
    lower with statistical certainty (over the samples), the moving statistics lag behind the
    weights. This is an error if the model is good and inference loses much of what was learned, and
    info otherwise. It is also info after fewer steps than the statistics average over, 1 / (1 -
    momentum), unless `val_loss` has already failed to follow the loss for three epochs. The finding
    names the layers and the number of steps that their statistics still need.

    In the overfit test, compares the final error in both modes. If the gap disappears when
    BatchNorm's statistics are re-estimated, they only lag (info, with the number of steps that
    they need). If it remains, the modes compute different things (a warning). It is also info
    if the test was so short that the statistics are still close to their initial values, or if
    re-estimated statistics make the error much worse: a few samples under dropout or stochastic
    depth give a poor estimate.

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
    - `gap` = 0.1: their difference, as a share of the baseline error (of the best prediction that
      ignores the input).
    - `recalibrated` = 0.5: share of the gap that may remain with re-estimated moving statistics
      (estimated as in Ioffe & Szegedy, Batch Normalization, 2015, algorithm 2).
    - `held` = 0.8: share of their initial values, momentum to the power of the steps, above which
      the run is too short to decide.
    - `worse` = 1.5: error with re-estimated statistics over the inference-mode error, above which
      the estimate is too poor to decide.
    - `lost` = 0.25: in a training, share of what was learned (baseline error minus re-estimated
      error) that inference loses, from which on it is an error; our own choice.
    - `good` = 0.7: re-estimated error, as a share of the baseline error, below which the model
      counts as good; our own choice.
    - `lags` = 0.1: deviation of a moving variance from the batches' variance, as a share of the
      latter, above which a layer is named.
    """

    code = "SD802"
    name = "inference-lags-training"
    severity = "warning"
    requires = ()
    compares_losses = True
    thresholds = {
        "ratio": 3,
        "gap": 0.1,
        "recalibrated": 0.5,
        "held": 0.8,
        "worse": 1.5,
        "lost": 0.25,
        "good": 0.7,
        "lags": 0.1,
    }
    explains = {
        "SD302": "anywhere",
        "SD712": "anywhere",
        "SD804": "anywhere",
        "SD806": "anywhere",
        "SD807": "anywhere",
    }

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
        # A trial of a few steps is shorter than the statistics' averaging window.
        long = checked.strays or steps >= min(
            (1 / (1 - row.momentum) for row in check.statistics if row.momentum < 1), default=0
        )
        severe = good and lost >= limits["lost"] and long
        late = sorted(
            (row for row in check.statistics if row.excess > limits["lags"]),
            key=lambda row: -row.excess,
        )
        share = (
            f"{percent(lost)} of what was learned"
            if math.isfinite(lost)
            else "part of what was learned"
        )
        layers = tuple(row.path for row in late)
        return self.finding(
            f"the model is better than val_loss shows: error {number(checked.inference)} on "
            f"{counted(check.items, 'validation sample')} in inference mode, but {number(again)} "
            f"with BatchNorm's statistics re-estimated from training batches "
            f"({number(float(check.training[-1]))} in training mode). Inference loses {share} "
            f"(threshold {percent(limits['lost'])}){_lagging_layers_text(late, steps)}",
            _momentum_fix(late, steps),
            layers=layers,
            evidence={
                "inference_error": checked.inference,
                "reestimated_error": again,
                "training_mode_error": float(check.training[-1]),
                "lost": lost,
                "threshold": limits["lost"],
                "steps": steps,
                "steps_needed": max((_steps_needed(row) for row in late), default=0),
                "layers": len(late),
            },
            source=source_of(measured, layers[0]) if layers else None,
            severity="error" if severe else "info",
            confidence=1.0 if severe else 0.8,
        )

    def _after_the_test(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        history = measured.get(OverfitHistory)
        if history is None:
            if measured.get(ValidationCheck) is not None:
                return  # in validation, both modes agree
            raise CannotJudge(measured.reason(OverfitHistory))
        if not len(history.checked):
            raise CannotJudge("the overfit test ended before both modes were measured")
        if not history.baseline_independent > 0:
            raise CannotJudge("no baseline error above zero to compare the gap with")
        training, inference = float(history.training_error[-1]), float(history.inference_error[-1])
        gap = (inference - training) / history.baseline_independent
        if not (gap > limits["gap"] and inference > limits["ratio"] * training):
            return
        if training >= history.training_error[0]:
            return  # nothing was learned that could lag
        yield self._modes_differ(measured, training, inference, gap, limits)

    def _modes_differ(
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
        short = _share_of_initial_values(measured, history) > limits["held"]
        poor = again > limits["worse"] * inference
        early = math.isfinite(again) and (short or poor)
        return self.finding(
            f"training-mode error {number(training)}, inference-mode error {number(inference)}: "
            f"the gap is {number(gap)} times the baseline error (threshold "
            f"{number(limits['gap'])})"
            f"{_explanation(measured, history, lags, early)}",
            "keras.layers.BatchNormalization(momentum=0.9)"
            if lags or early
            else "model(x, training=False)  # compare with training=True, layer by layer",
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


def _steps_needed(row: StatisticsRow) -> int:
    """Steps until the moving variance is within a tenth of the batches' variance; 0 if it is."""
    if not row.excess > 0.1:
        return 0
    if not 0 < row.momentum < 1:
        return 1 if row.momentum <= 0 else MAX_STEPS
    return min(MAX_STEPS, math.ceil(math.log(0.1 / row.excess) / math.log(row.momentum)))


def _lagging_layers_text(rows: Sequence[StatisticsRow], steps: int) -> str:
    """Sentence on how many layers lag, by how much, and how many more steps they need."""
    if not rows:
        return ""
    worst = rows[0]
    them = "it" if len(rows) == 1 else "all of them"
    needed = max(map(_steps_needed, rows))
    return (
        f". The moving statistics of {counted(len(rows), 'layer')} lag: after "
        f"{counted(steps, 'step')} with momentum {number(worst.momentum)}, the moving variance of "
        f"{label(worst.path)} is {number(worst.variance_ratio)} times that of its batches; "
        f"{counted(needed, 'more step')} would bring {them} within 10 %"
    )


def _momentum_fix(rows: Sequence[StatisticsRow], steps: int) -> str:
    """Code that sets the largest common momentum that would have been fast enough."""
    excess = max((row.excess / row.momentum**steps for row in rows if row.momentum), default=1e3)
    excess = min(max(excess, 1.0), 1e6)
    able = [m for m in (0.98, 0.95, 0.9, 0.8, 0.7) if excess * m ** (steps / 2) < 0.1]
    now = max((row.momentum for row in rows), default=1.0)
    fitting = max((m for m in able if m < now), default=0.7)
    return (
        f"keras.layers.BatchNormalization(momentum={fitting})"
        "  # or re-estimate the statistics before validating"
    )


def _share_of_initial_values(measured: Measurements, history: OverfitHistory) -> float:
    """Share of their initial values that the slowest moving statistics still contain."""
    return float(_slowest_momentum(measured) ** len(history.loss))


def _explanation(measured: Measurements, history: OverfitHistory, lags: bool, early: bool) -> str:
    """What re-estimating the statistics showed, and what to do; ends the message."""
    again = history.recalibrated_error
    if not math.isfinite(again):
        return ". Compare both modes layer by layer"
    if early and not lags:
        return (
            f"; with BatchNorm's statistics re-estimated from {counted(history.items, 'sample')} "
            f"the error is {number(again)}, no better. After {counted(len(history.loss), 'step')} "
            "the moving statistics still contain "
            f"{number(_share_of_initial_values(measured, history))} of their initial values. "
            "Train longer"
        )
    if not lags:
        return (
            f"; with BatchNorm's statistics re-estimated the error is {number(again)}, so they are "
            "not the cause. Compare both modes layer by layer"
        )
    best = history.baseline_independent
    rest = (
        ""
        if not math.isfinite(best) or again < best
        else f" (no better than the baseline error {number(best)}: too few samples for good "
        "statistics)"
    )
    momentum, left = _slowest_momentum(measured), _share_of_initial_values(measured, history)
    needed = math.ceil(math.log(0.01) / math.log(momentum)) if 0 < momentum < 1 else 1
    return (
        f"; with BatchNorm's statistics re-estimated the error is {number(again)}{rest}. After "
        f"{counted(len(history.loss), 'step')} with momentum {number(momentum)} the moving "
        f"statistics still contain {number(left)} of their initial values; {needed} steps reduce "
        "that to 0.01. Train longer, or lower the momentum"
    )


def _slowest_momentum(measured: Measurements) -> float:
    """The highest momentum of the BatchNorm layers, as measured or as configured."""
    status, wiring = measured.get(TrainableStatus), measured.get(Wiring)
    found = [row.momentum for row in status.normalization if row.training_mode] if status else []
    if not found and wiring is not None:
        kinds = (call for call in wiring.calls if call.kind == "BatchNormalization")
        found = [float(call.config["momentum"]) for call in kinds if "momentum" in call.config]
    return max(found, default=DEFAULT_MOMENTUM)
