"""A ring of rows in TensorFlow variables: the training graph writes, Python reads now and then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from saldiag.core.measurement import Array
from saldiag.core.training.schedule import Schedule
from saldiag.keras_internals.graphs import call_branches_like_functions

WINDOW = 1 << 14
"""Steps that are planned ahead. The graph cannot call a Python schedule, so it looks the next step
up in a table; the table moves on when Python next has its turn, well before it ends."""

NEVER = np.iinfo(np.int64).max
"""The step that stands behind the last one that is planned."""


def when(condition: Any, do: Callable[[], Any], leave: Callable[[], Any]) -> Any:
    """``tf.cond``, without the branch where ``condition`` is plainly True.

    A branch repeats all its inputs on both sides; for hundreds of variables that is memory.
    """
    return do() if condition is True else _kept_together(tf.cond(condition, do, leave))


def _kept_together(outputs: Any) -> Any:
    """Have the branches called like functions instead of being spread out in the step's graph.

    Spread out, every operation of the branch that is left passes its turn on at each step, which
    for a small model costs a tenth of the step.
    """
    first = tf.nest.flatten(outputs)[0]
    if tf.is_symbolic_tensor(first):
        operation = first.op
        while operation.type not in {"If", "StatelessIf"}:  # behind an Identity
            operation = operation.inputs[0].op
        call_branches_like_functions(operation)
    return outputs


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
        self._stopped = False
        self._read = 0
        self._start = 0
        with tf.init_scope():  # also when the first step is being traced
            self._step = _variable(0, tf.int64)
            self._written = _variable(0, tf.int64)
            upcoming = self._planned(0)
            self._upcoming = _variable(upcoming, tf.int64, [None])
            self._place = _variable(0, tf.int64)
            self._next = _variable(upcoming[0], tf.int64)
            self._steps = _variable(np.zeros(capacity, np.int64), tf.int64)
            self._rows = _variable(np.zeros((capacity, width)), tf.float64)
        self._always = len(upcoming) > WINDOW

    def scheduled(self) -> Any:
        """Whether the step that is being taken is to be measured: a bool tensor, or True.

        True stands for a schedule that leaves out no step of its first window; ``write`` asks
        again.
        """
        return True if self._always else self._is_due()

    def write(self, row: Any) -> None:
        """Write a row (``width``) for the step that is being taken, if that is scheduled."""

        def put() -> Any:
            slot = tf.math.floormod(self._written, self.capacity)
            self._rows.scatter_update(tf.IndexedSlices(tf.reshape(row, [self.width]), slot))
            self._steps.scatter_update(tf.IndexedSlices(self._step, slot))
            self._written.assign_add(1)
            self._next.assign(tf.gather(self._upcoming, self._place.assign_add(1)))
            return tf.constant(True)

        when(self._is_due() if self._always else True, put, lambda: tf.constant(False))

    def _is_due(self) -> Any:
        if tf.executing_eagerly():
            self.plan_ahead()
        return tf.greater_equal(self._step, self._next)

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
        if not self._stopped and step - self._start >= WINDOW // 2:
            self._start = step
            self._assign(self._planned(step))

    def stop(self) -> None:
        """Write nothing from now on, also from graphs that were traced with this ring."""
        self._stopped = True
        with tf.init_scope():  # also when a step is being traced
            self._assign(np.array([NEVER]))

    def resume(self) -> None:
        """Go on after ``stop``, as scheduled."""
        self._stopped = False
        self._start = self.steps_taken
        self._assign(self._planned(self._start))

    def _assign(self, upcoming: Array) -> None:
        self._upcoming.assign(upcoming)
        self._place.assign(0)
        self._next.assign(upcoming[0])

    @property
    def steps_taken(self) -> int:
        """Steps taken so far, measured or not."""
        return int(self._step.numpy())

    def _planned(self, start: int) -> Array:
        """The scheduled steps of the window from ``start`` on, and ``NEVER`` behind them."""
        steps = [step for step in range(start, start + WINDOW) if self._schedule(step)]
        return np.array([*steps, NEVER], np.int64)


def _variable(value: Any, dtype: Any, shape: Any = None) -> Any:
    """A plain tf.Variable: a Keras one would take a name from Keras' counters."""
    return tf.Variable(value, trainable=False, dtype=dtype, shape=shape)
