"""SD709: a callback that watches the wrong thing, the wrong way round, or for too short a time."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from saldiag.core.finding import Finding
from saldiag.core.measurement import (
    Array,
    Measurements,
    OverfitHistory,
    PlannedCallback,
    TrainingPlan,
    Wiring,
)
from saldiag.core.rule import Rule, Thresholds
from saldiag.rules.text import label, listed, number

WATCHING = frozenset({"EarlyStopping", "ModelCheckpoint", "ReduceLROnPlateau"})
SILENT = frozenset({
    "BackupAndRestore", "CSVLogger", "EarlyStopping", "History", "LearningRateScheduler",
    "ModelCheckpoint", "ProgbarLogger", "ReduceLROnPlateau", "TensorBoard", "TerminateOnNaN",
})  # fmt: skip
"""Callbacks that report no quantities of their own but the learning rate."""
RATES = frozenset({"learning_rate", "lr"})
EFFECTS = {
    "EarlyStopping": "it ends the training while that gets better",
    "ModelCheckpoint": "it keeps the worst model",
    "ReduceLROnPlateau": "it lowers the rate while that gets better",
}


class CallbackMisled(Rule):
    """EarlyStopping, ModelCheckpoint or ReduceLROnPlateau cannot tell better from worse.

    ## What it does
    Compares what these callbacks monitor with what ``fit`` reports, and what they take for better
    with what the metric says of itself. A quantity that is watched the wrong way round, or is not
    there, is a fault, and so is a quantity of validation data where ``fit`` is known to get none;
    callbacks of one's own excuse a missing one, since they can report it, and a
    ModelCheckpoint that keeps every epoch compares nothing. A patience shorter than the first
    cycle (or warm-up) of the learning rate is a note.

    ## Why is this bad
    Early stopping on a loss that is to rise ends each training after ``patience`` epochs, and keeps
    the worst weights. On a quantity that is not there it never ends one, with no more than a
    warning. And the loss rests, or rises, while a cyclic rate is high: a training that is stopped
    there has not seen the low rates, at which it pays.

    ## Example
    ```python
    keras.callbacks.EarlyStopping(monitor="val_loss", mode="max", patience=5)
    ```

    ## Use instead
    ```python
    keras.callbacks.EarlyStopping(monitor="val_loss", mode="min", patience=5)
    ```

    ## Threshold
    - `cycles` = 1: patience over the first cycle of the learning rate, in epochs; a training is
      best stopped at the end of a cycle (Smith, Cyclical Learning Rates, 2017, section 3.2).
    - `swing` = 2: highest rate over the lowest that makes a cycle.
    """

    code = "SD709"
    name = "callback-misled"
    severity = "warning"
    requires = (TrainingPlan,)
    thresholds = {"cycles": 1, "swing": 2}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        plan = measured.need(TrainingPlan)
        for callback in plan.callbacks:
            if callback.kind not in WATCHING:
                continue
            found = self._unknown(callback)
            if callback.config.get("save_best_only", True):
                found = found or self._wrong_way(callback)
                found = found or self._unvalidated(callback, measured, plan)
                found = found or self._missing(callback, _reported(measured, plan))
                found = found or self._impatient(callback, plan, limits)
            if found is not None:
                yield found

    def _unknown(self, callback: PlannedCallback) -> Finding | None:
        if callback.direction != "unknown":
            return None
        monitor = _monitor(callback)
        return self.finding(
            f"{callback.kind} monitors {label(monitor)}, and mode=auto cannot tell whether more of "
            "it is better (metrics that say so: 0, threshold 1): Keras ends fit with a ValueError "
            "after the first epoch. Say mode, or monitor a metric that is compiled",
            f'keras.callbacks.{callback.kind}(monitor="val_loss", mode="min")',
            evidence={"monitor": monitor, "metrics": 0, "threshold": 1},
            severity="error",
        )

    def _wrong_way(self, callback: PlannedCallback) -> Finding | None:
        taken, said = callback.direction, callback.metric_direction
        if not taken or not said or taken == said:
            return None
        monitor = _monitor(callback)
        return self.finding(
            f"{callback.kind} takes a {_more(taken)} {label(monitor)} for better, and a "
            f"{_more(said)} one is (changes of mode: 1, threshold 0): "
            f"{EFFECTS[callback.kind]}. Turn its mode round",
            f'keras.callbacks.{callback.kind}(monitor="{label(monitor)}", mode="{said}")',
            evidence={"monitor": monitor, "mode": taken, "better": said, "threshold": 0},
        )

    def _unvalidated(
        self, callback: PlannedCallback, measured: Measurements, plan: TrainingPlan
    ) -> Finding | None:
        monitor = _monitor(callback)
        if plan.validated is not False or not monitor.startswith("val_") or _adds(measured, plan):
            return None
        bare = label(monitor.removeprefix("val_"))
        return self.finding(
            f"{callback.kind} monitors {label(monitor)}, and fit is given no validation data "
            f"(batches of them: 0, threshold 1), so that there is no such quantity. "
            f"{callback.kind} does nothing so. Hold some items out, or monitor {bare}",
            "model.fit(x, y, validation_split=0.2)",
            evidence={"monitor": monitor, "validation": 0, "threshold": 1},
        )

    def _missing(self, callback: PlannedCallback, reported: tuple[str, ...]) -> Finding | None:
        monitor = _monitor(callback)
        if not reported or monitor in RATES or monitor.removeprefix("val_") in reported:
            return None
        return self.finding(
            f"{callback.kind} monitors {label(monitor)}, which fit does not report (metrics of "
            f"that name: 0, threshold 1): it reports {listed(reported, 5)}. {callback.kind} does "
            "nothing so",
            f'keras.callbacks.{callback.kind}(monitor="val_{label(reported[-1])}")',
            evidence={"monitor": monitor, "reported": list(reported), "threshold": 1},
        )

    def _impatient(
        self, callback: PlannedCallback, plan: TrainingPlan, limits: Thresholds
    ) -> Finding | None:
        if callback.kind != "EarlyStopping":
            return None
        config = callback.config
        patience = float(config.get("patience", 0)) + float(config.get("start_from_epoch", 0))
        what, epochs = _first_cycle(plan, limits["swing"])
        if not epochs or patience >= limits["cycles"] * epochs:
            return None
        return self.finding(
            f"EarlyStopping waits {number(patience)} epochs, {number(patience / epochs)} of the "
            f"learning rate's first {what}, {number(epochs)} epochs (threshold "
            f"{number(limits['cycles'])}): a loss that rests for so long ends the training before "
            f"the rate has come {'down' if what == 'cycle' else 'to its peak'}. Wait for a whole "
            "one",
            f"keras.callbacks.EarlyStopping(patience={int(np.ceil(epochs))})",
            evidence={
                "patience": patience,
                "cycle_epochs": epochs,
                "cycles": patience / epochs,
                "threshold": limits["cycles"],
            },
            severity="info",
            confidence=0.7,
        )


def _monitor(callback: PlannedCallback) -> str:
    return str(callback.config.get("monitor", ""))


def _more(direction: str) -> str:
    return {"max": "higher", "min": "lower"}[direction]


def _reported(measured: Measurements, plan: TrainingPlan) -> tuple[str, ...]:
    """What ``fit`` reports; nothing where callbacks or a model of one's own can add to it."""
    history = measured.get(OverfitHistory)
    return () if history is None or _adds(measured, plan) else history.metric_names


def _adds(measured: Measurements, plan: TrainingPlan) -> bool:
    """Whether callbacks or a model of one's own can report what ``fit`` does not."""
    wiring = measured.get(Wiring)
    own = wiring is None or wiring.own_training
    return own or any(callback.kind not in SILENT for callback in plan.callbacks)


def _first_cycle(plan: TrainingPlan, swing: float) -> tuple[str, float]:
    """``cycle`` or ``warm-up`` and its length in epochs; 0 where the rate does neither."""
    rates, at = plan.rates, plan.at
    if len(rates) < 3 or not np.isfinite(rates).all() or plan.schedule == "constant":
        return "", 0.0
    # Peaks are sampled, and not all to the same height.
    near = int(np.argmax(rates >= 0.9 * rates.max()))
    top = near + _run(np.diff(rates[near:]) > 0)
    bottom = top + _run(np.diff(rates[top:]) <= 0)
    if swing * rates[bottom] < min(rates[top], rates[bottom:].max()):
        return "cycle", float(at[bottom])
    return ("warm-up", float(at[top])) if rates[0] * swing < rates[top] else ("", 0.0)


def _run(steps: Array) -> int:
    """How many steps from the first on are true."""
    return int(np.argmin(np.append(steps, False)))
