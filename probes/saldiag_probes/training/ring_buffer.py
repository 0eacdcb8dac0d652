"""A ring buffer in TensorFlow variables: the training graph writes, Python reads now and then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from saldiag.core.keras_types import Tensor
from saldiag.core.measurement import Array
from saldiag.core.training.schedule import Schedule
from saldiag.keras_internals.graphs import call_branches_like_functions
from saldiag.keras_internals.variables import plain_variable

PLANNED_STEPS = 1 << 14
"""Number of steps that are planned ahead. The graph cannot call a Python schedule, so it looks the
next step up in a table; Python replaces the table when half of it is used up."""

NO_MORE_STEPS = np.iinfo(np.int64).max
"""The step at the end of the table: larger than any real one."""


def run_if(condition: Tensor | bool, do: Callable[[], Any], otherwise: Callable[[], Any]) -> Any:
    """``tf.cond``, or a plain call of ``do`` if ``condition`` is the Python value True.

    A branch has copies of all its inputs, which for hundreds of variables costs memory.

    Args:
        condition: a bool tensor, or True.
        do: called if the condition holds.
        otherwise: called otherwise; must return the same structure.
    """
    if condition is True:
        return do()
    return _keep_branches_as_functions(tf.cond(condition, do, otherwise))


def _keep_branches_as_functions(outputs: Any) -> Any:
    """Have the branches called like functions instead of being spread out in the step's graph.

    Spread out, every operation of the branch that is left passes its turn on at each step, which
    for a small model costs a tenth of the step. A branch that is called runs on one device, so on a
    machine with several it is spread out: its operations run where their variables are.
    """
    if len(tf.config.list_logical_devices()) > 1:
        return outputs
    first = tf.nest.flatten(outputs)[0]
    if tf.is_symbolic_tensor(first):
        operation = first.op
        while operation.type not in {"If", "StatelessIf"}:  # behind an Identity
            operation = operation.inputs[0].op
        call_branches_like_functions(operation)
    return outputs


class RingBuffer:
    """Rows of float64 written at scheduled steps; when full, the oldest rows are overwritten.

    Args:
        width: numbers per row.
        capacity: rows kept between two calls of ``drain``.
        schedule: called once for every step, ahead of time; steps count from 0.
        device: the device of the variables. XLA needs all variables of a step on the step's device;
            otherwise the CPU is best, because whether to measure is decided there.
    """

    def __init__(
        self, width: int, capacity: int, schedule: Schedule, device: str = "CPU:0"
    ) -> None:
        self.width = width
        self.capacity = capacity
        self._schedule = schedule
        self._stopped = False
        self._read = 0
        self._start = 0
        # All state is in variables: the traced step reads and writes them without calling Python.
        # init_scope: outside of the graph, if the first step is being traced.
        with tf.init_scope(), tf.device(device):
            self._step = plain_variable(0, tf.int64)
            self._written = plain_variable(0, tf.int64)
            upcoming = self._scheduled_steps(0)
            self._upcoming = plain_variable(upcoming, tf.int64)
            self._upcoming_index = plain_variable(0, tf.int64)
            self._next = plain_variable(upcoming[0], tf.int64)
            self._steps = plain_variable(np.zeros(capacity, np.int64), tf.int64)
            self._rows = plain_variable(np.zeros((capacity, width)), tf.float64)
        self._all_scheduled = upcoming[PLANNED_STEPS - 1] != NO_MORE_STEPS

    def is_scheduled(self) -> Tensor | bool:
        """Whether to measure the current step: a bool tensor, or True.

        True means that the schedule leaves out no step of its first table; ``write`` checks again.
        """
        return True if self._all_scheduled else self._is_due()

    def write(self, row: Tensor) -> None:
        """Write a row of shape (``width``) for the current step, if that is scheduled."""

        def put_row() -> Any:
            slot = tf.math.floormod(self._written, self.capacity)
            self._rows.scatter_update(tf.IndexedSlices(tf.reshape(row, [self.width]), slot))
            self._steps.scatter_update(tf.IndexedSlices(self._step, slot))
            self._written.assign_add(1)
            # Advance to the next scheduled step; NO_MORE_STEPS at the end of the table stops here.
            self._next.assign(tf.gather(self._upcoming, self._upcoming_index.assign_add(1)))
            return tf.constant(True)

        run_if(self._is_due() if self._all_scheduled else True, put_row, lambda: tf.constant(False))

    def _is_due(self) -> Tensor:
        """Whether the current step is the next scheduled one: a bool tensor."""
        if tf.executing_eagerly():
            self.plan_ahead()
        return tf.greater_equal(self._step, self._next)

    def advance(self) -> None:
        """Move on to the next step."""
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
        """Replace the table of scheduled steps once half of it is used up."""
        step = int(self._step.numpy())
        if not self._stopped and step - self._start >= PLANNED_STEPS // 2:
            self._start = step
            self._set_upcoming(self._scheduled_steps(step))

    def stop(self) -> None:
        """Write nothing from now on, also from graphs traced with this buffer."""
        self._stopped = True
        with tf.init_scope():  # outside of the graph, if a step is being traced
            self._set_upcoming(_padded_table(np.zeros(0, np.int64)))

    def resume(self) -> None:
        """Continue after ``stop``, as scheduled."""
        self._stopped = False
        step = self.steps_taken
        if step - self._start < PLANNED_STEPS // 2:  # asking the schedule again takes 50 ms
            self._set_upcoming(_padded_table(self._planned[self._planned >= step]))
        else:
            self._start = step
            self._set_upcoming(self._scheduled_steps(step))

    def _set_upcoming(self, upcoming: Array) -> None:
        self._upcoming.assign(upcoming)
        self._upcoming_index.assign(0)
        self._next.assign(upcoming[0])

    @property
    def step(self) -> Tensor:
        """The number of the current step, from 0, in the graph: scalar int64."""
        return self._step.read_value()

    @property
    def steps_taken(self) -> int:
        """Steps taken so far, measured or not."""
        return int(self._step.numpy())

    def _scheduled_steps(self, start: int) -> Array:
        """The scheduled steps of the table that begins at ``start``, then ``NO_MORE_STEPS``."""
        steps = [step for step in range(start, start + PLANNED_STEPS) if self._schedule(step)]
        self._planned = np.array(steps, np.int64)
        return _padded_table(self._planned)


def _padded_table(steps: Array) -> Array:
    """The steps in a table whose length never changes: XLA compiles again for each new shape."""
    table = np.full(PLANNED_STEPS + 1, NO_MORE_STEPS, np.int64)
    table[: len(steps)] = steps
    return table
