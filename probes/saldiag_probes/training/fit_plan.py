"""The arguments of ``fit`` as numbers: length of training, learning rate, callbacks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from copy import copy
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from saldiag.core.keras_types import KerasModel
from saldiag.core.measurement import Array, PlannedCallback, TrainingPlan
from saldiag.core.training.fit_plan import KERAS_BATCH, FitPlan
from saldiag.keras_internals.compilation import (
    compiled_metrics,
    has_monitor_direction,
    metric_direction,
    set_monitor_direction,
)
from saldiag.keras_internals.optimizers import learning_rate_setting_if_any
from saldiag_probes.loss.compiled_loss import learning_rate
from saldiag_probes.state.isolation import preserved_state
from saldiag_probes.state.optimizers import inner_optimizer
from saldiag_probes.trace.layer_facts import plain_values

MAX_RATE_SAMPLES = 200
"""Number of points of the training at which the learning rate is evaluated."""
MAX_SEARCHED_STEP = 10_000_000
"""Step up to which the highest learning rate is searched."""
VALIDATION_METHODS = ("compute_metrics", "evaluate", "get_metrics_result", "test_step")
"""Methods that decide what ``fit`` reports for validation data."""
RECORDED_ATTRIBUTES = (
    "baseline", "factor", "min_delta", "min_lr", "mode", "monitor", "patience",
    "restore_best_weights", "save_best_only", "start_from_epoch",
)  # fmt: skip
"""Attributes of a callback that are recorded."""


def measure_plan(model: KerasModel, plan: FitPlan) -> TrainingPlan:
    """The plan of a training in numbers.

    Nothing is trained, and neither data nor callbacks are run. A ``LearningRateScheduler``'s
    function is called for each epoch.

    Args:
        model: the model; the learning rate needs it compiled.
        plan: the arguments of ``fit``.
    """
    optimizer = inner_optimizer(getattr(model, "optimizer", None))
    per_epoch = steps_per_epoch(plan)
    scheduler = _rate_scheduler(plan.callbacks)
    schedule = learning_rate_setting_if_any(optimizer)
    with preserved_state(model):
        if scheduler is not None:
            at, rates = _rates_by_epoch(scheduler, plan.epochs, learning_rate(optimizer))
            kind, config, peak = type(scheduler).__name__, {}, _highest_rate(rates)
        elif isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
            at, rates = _rates_by_step(schedule, plan.epochs, per_epoch)
            kind, config = type(schedule).__name__, _schedule_config(schedule)
            peak = _peak_rate(schedule, rates)
        else:
            at, rates = _constant_rates(learning_rate(optimizer), plan.epochs)
            kind, config, peak = "constant", {}, learning_rate(optimizer)
    return TrainingPlan(
        epochs=plan.epochs,
        steps_per_epoch=per_epoch,
        schedule=kind,
        schedule_config=config,
        at=at,
        rates=rates,
        peak=peak,
        callbacks=tuple(_planned_callback(model, callback) for callback in plan.callbacks),
        validated=None if plan.validation is None else len(plan.validation) > 0,
        own_report=any(
            getattr(type(model), name, None) is not getattr(keras.Model, name)
            for name in VALIDATION_METHODS
        ),
    )


def steps_per_epoch(plan: FitPlan) -> int | None:
    """As given, or from the data's size; None if it is unknown without reading the data."""
    if plan.steps_per_epoch is not None:
        return plan.steps_per_epoch
    data = plan.data
    if isinstance(data, tf.data.Dataset):
        count = int(data.cardinality())
        return count if count > 0 else None
    if isinstance(data, keras.utils.PyDataset):
        return None if data.num_batches is None else int(data.num_batches)
    first = next((part for part in keras.tree.flatten(data) if hasattr(part, "shape")), None)
    if first is None or not len(first.shape):
        return None
    return math.ceil(int(first.shape[0]) / (plan.batch_size or KERAS_BATCH))


def _rate_scheduler(callbacks: Sequence[Any]) -> Any:
    """The callback that sets the learning rate at the start of each epoch, or None."""
    schedulers = [c for c in callbacks if isinstance(c, keras.callbacks.LearningRateScheduler)]
    return schedulers[-1] if schedulers else None


def _rates_by_epoch(scheduler: Any, epochs: int | None, rate: float) -> tuple[Array, Array]:
    """Epochs (E) and the learning rate of each, (E) float64."""
    at = np.arange(min(epochs or 0, MAX_SEARCHED_STEP // 1000))
    rates = []
    for epoch in at:
        try:
            rate = float(scheduler.schedule(int(epoch), rate))
        except TypeError:  # Keras' older signature without the rate; Keras tries it, too
            rate = float(scheduler.schedule(int(epoch)))
        rates.append(rate)
    return at.astype(np.float64), np.array(rates, dtype=np.float64)


def _rates_by_step(schedule: Any, epochs: int | None, per_epoch: int | None) -> tuple[Array, Array]:
    """Sampled points of the training in epochs, and the learning rate at each."""
    if not epochs or not per_epoch:
        return np.zeros(0), np.zeros(0)
    steps = np.unique(
        np.linspace(0, epochs * per_epoch - 1, MAX_RATE_SAMPLES).round().astype(np.int64)
    )
    return steps / per_epoch, _evaluate_schedule(schedule, steps)


def _evaluate_schedule(schedule: Any, steps: Array) -> Array:
    """Learning rates at ``steps``.

    Steps are passed as int64, like an optimizer's counter: a custom schedule may rely on it.
    """
    values = [schedule(keras.ops.convert_to_tensor(int(step), "int64")) for step in steps]
    return np.array([float(keras.ops.convert_to_numpy(value)) for value in values])


def _search_steps() -> Array:
    """Geometrically spaced steps from 1 to ``MAX_SEARCHED_STEP``."""
    return np.unique(np.geomspace(1, MAX_SEARCHED_STEP, 100).round().astype(np.int64))


def _constant_rates(rate: float, epochs: int | None) -> tuple[Array, Array]:
    at: Array = np.arange(float(min(epochs or 0, MAX_RATE_SAMPLES)))
    return at, np.full(len(at), rate)


def _highest_rate(rates: Array) -> float:
    """The largest finite rate; nan if there is none."""
    finite = rates[np.isfinite(rates)]
    return float(finite.max()) if len(finite) else math.nan


def _peak_rate(schedule: Any, planned: Array) -> float:
    """The highest rate that is ever reached; nan if the schedule rises without end."""
    far = np.nan_to_num(_evaluate_schedule(schedule, _search_steps()), nan=0.0, posinf=np.inf)
    endless = int(far.argmax()) == len(far) - 1 or not np.isfinite(far.max())
    return math.nan if endless else max(_highest_rate(planned), float(far.max()))


def _schedule_config(schedule: Any) -> dict[str, Any]:
    try:
        return plain_values(schedule.get_config())
    except Exception:  # raised by a custom schedule
        return {}


def _planned_callback(model: KerasModel, callback: Any) -> PlannedCallback:
    config = {
        name: getattr(callback, name) for name in RECORDED_ATTRIBUTES if hasattr(callback, name)
    }
    return PlannedCallback(
        kind=type(callback).__name__,
        config=plain_values({name: _python_number(value) for name, value in config.items()}),
        direction=_callback_direction(model, callback),
        metric_direction=_metric_direction(model, str(config.get("monitor", ""))),
    )


def _python_number(value: Any) -> Any:
    return float(value) if isinstance(value, np.generic) else value


def _callback_direction(model: KerasModel, callback: Any) -> str:
    """``max`` or ``min``: what the callback treats as better, found on a copy; ``""`` if open."""
    if not has_monitor_direction(callback) or not hasattr(callback, "monitor"):
        return ""
    if callback.mode == "auto" and not (_monitors_loss(callback.monitor) or _metrics_built(model)):
        return ""
    trial = copy(callback)
    trial.set_model(model)
    try:
        set_monitor_direction(trial)
    except ValueError:
        return "unknown"
    return "max" if trial.monitor_op is keras.ops.greater else "min"


def _monitors_loss(monitor: str) -> bool:
    """Whether the monitored quantity is the training or validation loss."""
    return monitor.removeprefix("val_") == "loss"


def _metrics_built(model: KerasModel) -> bool:
    compiled = compiled_metrics(model)
    return compiled is None or bool(compiled.built)


def _metric_direction(model: KerasModel, monitor: str) -> str:
    """``max`` or ``min``: what is better for the monitored metric; ``""`` if unknown."""
    if _monitors_loss(monitor):
        return "min"
    name = monitor.removeprefix("val_")
    matching = [metric for metric in _flat_metrics(model) if metric.name == name]
    direction = metric_direction(matching[0]) if matching else ""
    return {"up": "max", "down": "min"}.get(direction, "")


def _flat_metrics(model: KerasModel) -> Iterator[Any]:
    for metric in model.metrics:
        yield from getattr(metric, "metrics", None) or [metric]
