"""Estimate of a training's duration and memory, from its first steps."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import keras
import tensorflow as tf

from saldiag.core.wording import counted

MEASURED_STEPS = 20
"""Steps that are measured before the estimate."""
WARM_UP_STEPS = 2
"""Steps that the estimate leaves out: they trace the training step and fill the input pipeline."""
EPOCH_PREPARATION_SHARE = 0.5
"""Duration of an epoch's first step over that of the very first one: reseeding at each epoch
empties TensorFlow's cache of prepared graphs (29 s against 54 s for quicksal on two busy cores)."""
MIN_REPORTED_SECONDS = 60.0
"""Trainings that take fewer seconds get no estimate."""
VALIDATION_COST = 0.5
"""Duration of a validation batch over that of a training step, before the first validation: a
forward pass without a backward pass (about a third), and the metrics."""


class TrainingEstimate(keras.callbacks.Callback):
    """Reports once how long all epochs will take, after ``MEASURED_STEPS`` steps or one epoch.

    Uses the median step, because steps that trace a function or measure gradients take longer; the
    extra time of every epoch's first step is added.

    Args:
        say: called with the line.
        epochs: epochs of the whole run.
        steps: steps per epoch.
        validation_batches: batches of the validation after each epoch; None if unknown.
        first: number of the first epoch, from 0; above 0 in a resumed run.
        clock: returns the time in seconds from any origin.
        memory: returns peak bytes of the process and of the GPU; None where unknown.
    """

    def __init__(
        self,
        say: Callable[[str], None],
        *,
        epochs: int,
        steps: int,
        validation_batches: int | None,
        first: int = 0,
        clock: Callable[[], float] = time.monotonic,
        memory: Callable[[], tuple[int | None, int | None]] | None = None,
    ) -> None:
        super().__init__()
        self._say = say
        self._epochs, self._first = epochs, first
        self._steps, self._validation_batches = steps, validation_batches
        self._clock, self._memory = clock, memory or peak_memory
        self._lap_start = 0.0
        self._training: list[float] = []
        self._validation: list[float] = []
        self._validations = 0
        self._done = False

    def on_epoch_begin(self, *_: Any, **__: Any) -> None:
        """Start the clock of the epoch's first step."""
        self._lap_start = self._clock()

    def on_train_batch_end(self, *_: Any, **__: Any) -> None:
        """Measure the step; estimate after ``MEASURED_STEPS`` of them."""
        if self._done:
            return
        self._add_lap(self._training)
        if len(self._training) >= MEASURED_STEPS:
            self._report_estimate()

    def on_test_begin(self, *_: Any, **__: Any) -> None:
        """Start the clock of the first validation batch."""
        self._lap_start = self._clock()
        self._validations += 1

    def on_test_batch_end(self, *_: Any, **__: Any) -> None:
        """Measure the validation batch."""
        if not self._done:
            self._add_lap(self._validation)

    def on_epoch_end(self, epoch: int, *_: Any, **__: Any) -> None:
        """Estimate where an epoch has fewer than ``MEASURED_STEPS`` steps."""
        more = epoch + 1 < self._epochs
        if more and not self._done and len(self._training) > WARM_UP_STEPS:
            self._report_estimate()

    def _add_lap(self, laps: list[float]) -> None:
        """Append the seconds since the last lap."""
        now = self._clock()
        laps.append(now - self._lap_start)
        self._lap_start = now

    def _report_estimate(self) -> None:
        """Say the estimate, unless the training is short."""
        self._done = True
        step = median(self._training[WARM_UP_STEPS:])
        epochs = self._epochs - self._first
        preparation = EPOCH_PREPARATION_SHARE * max(self._training[0] - step, 0.0)
        seconds = epochs * (self._steps * step + self._validation_seconds(step) + preparation)
        if seconds >= MIN_REPORTED_SECONDS:
            more = "more " if self._first else ""
            self._say(
                f"{counted(epochs, f'{more}epoch')} of {counted(self._steps, 'step')}: about"
                f" {_format_duration(seconds)} at {_format_seconds(step)} per step"
                f"{_format_memory(*self._memory())}"
            )

    def _validation_seconds(self, step: float) -> float:
        """Seconds of one validation: measured, or before the first one derived from a step."""
        if self._validations:
            return sum(self._validation) / self._validations
        return (self._validation_batches or 0) * VALIDATION_COST * step


def _format_duration(seconds: float) -> str:
    """A duration of at least a minute: ``12 min``, ``3 h 20 min``, ``2 d 3 h``."""
    minutes = max(round(seconds / 60), 1)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def _format_seconds(value: float) -> str:
    return f"{value:.0f} s" if value >= 10 else f"{value:.2g} s"


def _format_memory(process: int | None, gpu: int | None) -> str:
    """``, up to 2.1 GB of memory, 1.0 GB on the GPU``; from bytes, nothing for None."""
    text = f", up to {process / 1e9:.1f} GB of memory" if process is not None else ""
    return text + (f", {gpu / 1e9:.1f} GB on the GPU" if gpu is not None else "")


def peak_memory() -> tuple[int | None, int | None]:
    """Peak memory of this process and of the first GPU so far, in bytes; None where unknown."""
    return _peak_of_process(), _peak_of_gpu()


def _peak_of_process() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # bytes there, KiB elsewhere


def _peak_of_gpu() -> int | None:
    if not tf.config.list_physical_devices("GPU"):
        return None
    try:
        return int(tf.config.experimental.get_memory_info("GPU:0")["peak"])
    except (ValueError, KeyError, RuntimeError, tf.errors.OpError):  # no such statistics there
        return None


def batch_count(dataset: Any) -> int | None:
    """The number of batches of a ``tf.data.Dataset``; None if it is unknown or infinite."""
    cardinality = getattr(dataset, "cardinality", None)
    count = int(cardinality()) if cardinality is not None else -1
    return count if count >= 0 else None
