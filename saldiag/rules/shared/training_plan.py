"""What a planned training reports, and how its learning rate goes."""

from __future__ import annotations

import numpy as np

from saldiag.core.measurement import (
    Array,
    Measurements,
    OverfitHistory,
    PlannedCallback,
    TrainingPlan,
    Wiring,
)

SILENT = frozenset({
    "BackupAndRestore", "CSVLogger", "EarlyStopping", "History", "LearningRateScheduler",
    "ModelCheckpoint", "ProgbarLogger", "ReduceLROnPlateau", "TensorBoard", "TerminateOnNaN",
})  # fmt: skip
"""Callbacks that report no quantities of their own but the learning rate."""
RATES = frozenset({"learning_rate", "lr"})


def monitored(callback: PlannedCallback) -> str:
    """The quantity that a callback looks at."""
    return str(callback.config.get("monitor", ""))


def reported(measured: Measurements, plan: TrainingPlan) -> tuple[str, ...]:
    """What ``fit`` reports; nothing where callbacks or a model of one's own can add to it."""
    history = measured.get(OverfitHistory)
    return () if history is None or adds(measured, plan) else history.metric_names


def adds(measured: Measurements, plan: TrainingPlan) -> bool:
    """Whether callbacks or a model of one's own can report what ``fit`` does not."""
    wiring = measured.get(Wiring)
    own = wiring is None or wiring.own_training or plan.own_report
    return own or any(callback.kind not in SILENT for callback in plan.callbacks)


def first_cycle(plan: TrainingPlan, swing: float) -> tuple[str, float]:
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
