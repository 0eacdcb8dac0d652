"""How long a training will take and how much memory it uses, from its first steps."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import keras
import tensorflow as tf

from saldiag.core.wording import counted

STEPS = 20
"""Steps measured before the estimate."""
WARM_UP = 2
"""Steps left out of it: they trace the training step and fill the input pipeline."""
PREPARATION = 0.5
"""What each epoch's first step takes, over the very first one: reseeding at each epoch
empties TensorFlow's cache of prepared graphs (29 s against 54 s for quicksal on two busy cores)."""
SHORTEST = 60.0
"""Seconds; a training that takes less needs no estimate."""
VALIDATION_COST = 0.5
"""Seconds of a validation batch over those of a training step, before the first validation: a
forward pass without its backward pass (about a third), and the metrics."""


class TrainingEstimate(keras.callbacks.Callback):
    """Say once how long all epochs will take, after ``STEPS`` steps or the first epoch.

    The median step counts, because steps that trace a function or measure gradients take longer;
    what every epoch's first step takes longer is added.

    Args:
        say: called with the line.
        epochs: epochs of the whole run.
        steps: steps an epoch.
        validation_batches: batches of the validation after each epoch, None if unknown.
        first: the epoch to begin with, counted from 0; above 0 the run is resumed.
        clock: seconds, from any start.
        memory: peak bytes of the process, and of the GPU; None where unknown.
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
        self._begun = 0.0
        self._training: list[float] = []
        self._validation: list[float] = []
        self._validations = 0
        self._done = False

    def on_epoch_begin(self, *_: Any, **__: Any) -> None:
        """Start the clock of the epoch's first step."""
        self._begun = self._clock()

    def on_train_batch_end(self, *_: Any, **__: Any) -> None:
        """Measure the step; estimate after ``STEPS`` of them."""
        if self._done:
            return
        self._lap(self._training)
        if len(self._training) >= STEPS:
            self._estimate()

    def on_test_begin(self, *_: Any, **__: Any) -> None:
        """Start the clock of the first validation batch."""
        self._begun = self._clock()
        self._validations += 1

    def on_test_batch_end(self, *_: Any, **__: Any) -> None:
        """Measure the validation batch."""
        if not self._done:
            self._lap(self._validation)

    def on_epoch_end(self, epoch: int, *_: Any, **__: Any) -> None:
        """Estimate where an epoch has fewer than ``STEPS`` steps."""
        more = epoch + 1 < self._epochs
        if more and not self._done and len(self._training) > WARM_UP:
            self._estimate()

    def _lap(self, laps: list[float]) -> None:
        now = self._clock()
        laps.append(now - self._begun)
        self._begun = now

    def _estimate(self) -> None:
        self._done = True
        step = median(self._training[WARM_UP:])
        epochs = self._epochs - self._first
        preparation = PREPARATION * max(self._training[0] - step, 0.0)
        seconds = epochs * (self._steps * step + self._of_validation(step) + preparation)
        if seconds >= SHORTEST:
            more = "more " if self._first else ""
            self._say(
                f"{counted(epochs, f'{more}epoch')} of {counted(self._steps, 'step')}: about"
                f" {_span(seconds)} at {_seconds(step)} a step{_told(*self._memory())}"
            )

    def _of_validation(self, step: float) -> float:
        """Seconds of one validation: as measured, or from a training step before there is one."""
        if self._validations:
            return sum(self._validation) / self._validations
        return (self._validation_batches or 0) * VALIDATION_COST * step


def _span(seconds: float) -> str:
    """A time from a minute on: ``12 min``, ``3 h 20 min``, ``2 d 3 h``."""
    minutes = max(round(seconds / 60), 1)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def _seconds(value: float) -> str:
    return f"{value:.0f} s" if value >= 10 else f"{value:.2g} s"


def _told(process: int | None, gpu: int | None) -> str:
    told = f", up to {process / 1e9:.1f} GB of memory" if process is not None else ""
    return told + (f", {gpu / 1e9:.1f} GB on the GPU" if gpu is not None else "")


def peak_memory() -> tuple[int | None, int | None]:
    """Peak bytes of this process and of the first GPU so far; None where unknown."""
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
    """The number of batches of a ``tf.data.Dataset`` that knows it."""
    cardinality = getattr(dataset, "cardinality", None)
    count = int(cardinality()) if cardinality is not None else -1
    return count if count >= 0 else None
