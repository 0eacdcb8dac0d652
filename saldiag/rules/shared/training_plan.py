"""The planned training: which metrics it reports, and the first cycle of its learning rate."""

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
"""Keras' callbacks that report no metric, or only the learning rate."""
RATE_METRICS = frozenset({"learning_rate", "lr"})


def monitored_metric(callback: PlannedCallback) -> str:
    """The metric that a callback monitors; empty if it has no ``monitor``."""
    return str(callback.config.get("monitor", ""))


def reported_metrics(measured: Measurements, plan: TrainingPlan) -> tuple[str, ...]:
    """The metrics that ``fit`` reports; empty where callbacks or custom code can add to them."""
    history = measured.get(OverfitHistory)
    return () if history is None or can_report_more(measured, plan) else history.metric_names


def can_report_more(measured: Measurements, plan: TrainingPlan) -> bool:
    """Whether a callback or custom training code can report metrics that ``fit`` does not."""
    wiring = measured.get(Wiring)
    custom = wiring is None or wiring.own_training or plan.own_report
    return custom or any(callback.kind not in SILENT for callback in plan.callbacks)


def first_cycle(plan: TrainingPlan, swing: float) -> tuple[str, float]:
    """Kind and length in epochs of the rate's first cycle.

    ``("cycle", epochs)``, ``("warm-up", epochs)``, or ``("", 0)`` if the rate does neither.
    ``swing``: highest over lowest rate from which on the rate cycles or warms up.
    """
    rates, at = plan.rates, plan.at
    if len(rates) < 3 or not np.isfinite(rates).all() or plan.schedule == "constant":
        return "", 0.0
    # The rates are samples: peaks of equal height differ a little.
    peak_region = int(np.argmax(rates >= 0.9 * rates.max()))
    peak = peak_region + _leading_true_count(np.diff(rates[peak_region:]) > 0)
    trough = peak + _leading_true_count(np.diff(rates[peak:]) <= 0)
    if swing * rates[trough] < min(rates[peak], rates[trough:].max()):
        return "cycle", float(at[trough])
    return ("warm-up", float(at[peak])) if rates[0] * swing < rates[peak] else ("", 0.0)


def _leading_true_count(steps: Array) -> int:
    """Number of True values before the first False."""
    return int(np.argmin(np.append(steps, False)))
