"""What a program hands to ``fit``, in numbers: its length, its learning rate, its callbacks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from copy import copy
from typing import Any

import keras
import numpy as np
import tensorflow as tf

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
from saldiag_probes.state.isolation import undisturbed
from saldiag_probes.state.optimizers import inner
from saldiag_probes.trace.layer_facts import plain

SAMPLES = 200
"""Places of the training at which the learning rate is taken."""
FARTHEST = 10_000_000
"""Steps up to which the highest rate is looked for."""
REPORTING = ("compute_metrics", "evaluate", "get_metrics_result", "test_step")
"""Methods that decide what ``fit`` reports of validation data."""
KEPT = (
    "baseline", "factor", "min_delta", "min_lr", "mode", "monitor", "patience",
    "restore_best_weights", "save_best_only", "start_from_epoch",
)  # fmt: skip
"""What is kept of a callback's attributes."""


def measure_plan(model: Any, plan: FitPlan) -> TrainingPlan:
    """The plan in numbers; nothing is trained, and neither data nor callbacks are run.

    A ``LearningRateScheduler`` is asked for its rates by its own function.
    """
    optimizer = inner(getattr(model, "optimizer", None))
    per_epoch = steps_per_epoch(plan)
    setter = _setter(plan.callbacks)
    schedule = learning_rate_setting_if_any(optimizer)
    with undisturbed(model):
        if setter is not None:
            at, rates = _by_epoch(setter, plan.epochs, learning_rate(optimizer))
            kind, config, peak = type(setter).__name__, {}, _highest(rates)
        elif isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
            at, rates = _by_step(schedule, plan.epochs, per_epoch)
            kind, config = type(schedule).__name__, _config(schedule)
            peak = _peak(schedule, rates)
        else:
            at, rates = _constant(learning_rate(optimizer), plan.epochs)
            kind, config, peak = "constant", {}, learning_rate(optimizer)
    return TrainingPlan(
        epochs=plan.epochs,
        steps_per_epoch=per_epoch,
        schedule=kind,
        schedule_config=config,
        at=at,
        rates=rates,
        peak=peak,
        callbacks=tuple(_planned(model, callback) for callback in plan.callbacks),
        validated=None if plan.validation is None else len(plan.validation) > 0,
        own_report=any(
            getattr(type(model), name, None) is not getattr(keras.Model, name) for name in REPORTING
        ),
    )


def steps_per_epoch(plan: FitPlan) -> int | None:
    """As given, or as the data's size says; None where it cannot be told without reading it."""
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


def _setter(callbacks: Sequence[Any]) -> Any:
    """The callback that sets the rate at the start of each epoch."""
    found = [c for c in callbacks if isinstance(c, keras.callbacks.LearningRateScheduler)]
    return found[-1] if found else None


def _by_epoch(setter: Any, epochs: int | None, rate: float) -> tuple[Array, Array]:
    at = np.arange(min(epochs or 0, FARTHEST // 1000))
    rates = []
    for epoch in at:
        try:
            rate = float(setter.schedule(int(epoch), rate))
        except TypeError:  # the older form, as Keras tries it
            rate = float(setter.schedule(int(epoch)))
        rates.append(rate)
    return at.astype(np.float64), np.array(rates, dtype=np.float64)


def _by_step(schedule: Any, epochs: int | None, per_epoch: int | None) -> tuple[Array, Array]:
    if not epochs or not per_epoch:
        return np.zeros(0), np.zeros(0)
    steps = np.unique(np.linspace(0, epochs * per_epoch - 1, SAMPLES).round().astype(np.int64))
    return steps / per_epoch, _rates(schedule, steps)


def _rates(schedule: Any, steps: Array) -> Array:
    """Steps are int64, as an optimizer counts them: schedules of one's own can depend on it."""
    values = [schedule(keras.ops.convert_to_tensor(int(step), "int64")) for step in steps]
    return np.array([float(keras.ops.convert_to_numpy(value)) for value in values])


def _far() -> Array:
    return np.unique(np.geomspace(1, FARTHEST, 100).round().astype(np.int64))


def _constant(rate: float, epochs: int | None) -> tuple[Array, Array]:
    at: Array = np.arange(float(min(epochs or 0, SAMPLES)))
    return at, np.full(len(at), rate)


def _highest(rates: Array) -> float:
    finite = rates[np.isfinite(rates)]
    return float(finite.max()) if len(finite) else math.nan


def _peak(schedule: Any, planned: Array) -> float:
    """The highest rate that is ever reached; nan where it rises without end."""
    far = np.nan_to_num(_rates(schedule, _far()), nan=0.0, posinf=np.inf)
    endless = int(far.argmax()) == len(far) - 1 or not np.isfinite(far.max())
    return math.nan if endless else max(_highest(planned), float(far.max()))


def _config(schedule: Any) -> dict[str, Any]:
    try:
        return plain(schedule.get_config())
    except Exception:  # a custom schedule's own code
        return {}


def _planned(model: Any, callback: Any) -> PlannedCallback:
    config = {name: getattr(callback, name) for name in KEPT if hasattr(callback, name)}
    return PlannedCallback(
        kind=type(callback).__name__,
        config=plain({name: _number(value) for name, value in config.items()}),
        direction=_direction(model, callback),
        metric_direction=_metric_direction(model, str(config.get("monitor", ""))),
    )


def _number(value: Any) -> Any:
    return float(value) if isinstance(value, np.generic) else value


def _direction(model: Any, callback: Any) -> str:
    """What Keras takes for better, asked of a copy of the callback."""
    if not has_monitor_direction(callback) or not hasattr(callback, "monitor"):
        return ""
    if callback.mode == "auto" and not (_of_loss(callback.monitor) or _metrics_built(model)):
        return ""
    asked = copy(callback)
    asked.set_model(model)
    try:
        set_monitor_direction(asked)
    except ValueError:
        return "unknown"
    return "max" if asked.monitor_op is keras.ops.greater else "min"


def _of_loss(monitor: str) -> bool:
    return monitor.removeprefix("val_") == "loss"


def _metrics_built(model: Any) -> bool:
    compiled = compiled_metrics(model)
    return compiled is None or bool(compiled.built)


def _metric_direction(model: Any, monitor: str) -> str:
    if _of_loss(monitor):
        return "min"
    wanted = monitor.removeprefix("val_")
    found = [metric for metric in _metrics(model) if metric.name == wanted]
    said = metric_direction(found[0]) if found else ""
    return {"up": "max", "down": "min"}.get(said, "")


def _metrics(model: Any) -> Iterator[Any]:
    for metric in model.metrics:
        yield from getattr(metric, "metrics", None) or [metric]
