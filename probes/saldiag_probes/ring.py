"""A ring of rows in TensorFlow variables: the training graph writes, Python reads now and then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from saldiag.core.measurement import Array
from saldiag.core.schedule import Schedule, never

WINDOW = 1 << 16
"""Steps that are planned ahead. The graph cannot call a Python schedule, so it looks the answer up
in a table; the table moves on when Python next has its turn, well before it ends."""


def when(condition: Any, do: Callable[[], Any], leave: Callable[[], Any]) -> Any:
    """``tf.cond``, without the branch where ``condition`` is plainly True.

    A branch repeats all its inputs on both sides; for hundreds of variables that is memory.
    """
    return do() if condition is True else tf.cond(condition, do, leave)


class Ring:
    """Rows of float64 that are written at scheduled steps; when full, the oldest are overwritten.

    Args:
        width: numbers in a row.
        capacity: rows kept between two calls of ``drain``.
        schedule: asked once for every step, ahead of time; steps count from 0.
    """

    def __init__(self, width: int, capacity: int, schedule: Schedule) -> None:
        self.width = width
        self.capacity = capacity
        self._schedule = schedule
        self._read = 0
        self._start = 0
        with tf.init_scope():  # also when the first step is being traced
            self._step = _variable(0, tf.int64)
            self._written = _variable(0, tf.int64)
            self._plan_start = _variable(0, tf.int64)
            plan = self._planned(0)
            self._plan = _variable(plan, tf.bool)
            self._steps = _variable(np.zeros(capacity, np.int64), tf.int64)
            self._rows = _variable(np.zeros((capacity, width)), tf.float64)
        self._always = bool(plan.all())

    def scheduled(self) -> Any:
        """Whether the step that is being taken is to be measured: a bool tensor, or True.

        True stands for a schedule that leaves out no step of its first window; ``write`` asks
        again.
        """
        return True if self._always else self._is_planned()

    def write(self, row: Any) -> None:
        """Write a row (``width``) for the step that is being taken, if that is scheduled."""

        def put() -> Any:
            slot = tf.math.floormod(self._written, self.capacity)
            self._rows[slot].assign(tf.reshape(row, [self.width]))
            self._steps[slot].assign(self._step)
            self._written.assign_add(1)
            return tf.constant(True)

        when(self._is_planned() if self._always else True, put, lambda: tf.constant(False))

    def _is_planned(self) -> Any:
        if tf.executing_eagerly():
            self.plan_ahead()
        index = self._step - self._plan_start
        inside = tf.logical_and(index >= 0, index < WINDOW)
        return tf.logical_and(inside, self._plan[tf.clip_by_value(index, 0, WINDOW - 1)])

    def advance(self) -> None:
        """The step has been taken."""
        self._step.assign_add(1)

    def drain(self) -> tuple[Array, Array, int]:
        """Steps (T), rows (T, ``width``) and the number of lost rows since the last call."""
        written = int(self._written.numpy())
        first = max(self._read, written - self.capacity)
        dropped, self._read = first - self._read, written
        slots = np.arange(first, written) % self.capacity
        self.plan_ahead()
        steps, rows = tf.gather(self._steps, slots), tf.gather(self._rows, slots)
        return steps.numpy(), rows.numpy(), dropped

    def plan_ahead(self) -> None:
        """Move the plan on once half of it is used up."""
        step = int(self._step.numpy())
        if step - self._start >= WINDOW // 2:
            self._start = step
            self._plan_start.assign(step)
            self._plan.assign(self._planned(step))

    def stop(self) -> None:
        """Write nothing any more, also from graphs that were traced with this ring."""
        self._schedule = never
        with tf.init_scope():  # also when a step is being traced
            self._plan.assign(np.zeros(WINDOW, bool))

    @property
    def steps_taken(self) -> int:
        """Steps taken so far, measured or not."""
        return int(self._step.numpy())

    def _planned(self, start: int) -> Array:
        return np.fromiter((self._schedule(start + i) for i in range(WINDOW)), bool, WINDOW)


def _variable(value: Any, dtype: Any) -> Any:
    """A plain tf.Variable: a Keras one would take a name from Keras' counters."""
    return tf.Variable(value, trainable=False, dtype=dtype)
