"""Numbers of each replica, written by the training step and read by Python at the end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from saldiag.core.keras_types import Tensor
from saldiag.core.measurement import Array


class ReplicaRows:
    """The rows of one replica: one for each of its first steps, and totals over all steps.

    The variables live on the replica's device, outside of the strategy.

    Args:
        width: numbers per row.
        totals: initial values of the totals.
        capacity: number of steps that get a row.
        device: of the replica.
    """

    def __init__(self, width: int, totals: Array, capacity: int, device: str) -> None:
        self.capacity = capacity
        rows = np.full((capacity, width), np.nan)
        self._step, self._rows, self._totals = _outside_of_strategies(
            lambda: (
                tf.Variable(0, trainable=False, dtype=tf.int64),
                tf.Variable(rows, trainable=False, dtype=tf.float64),
                tf.Variable(totals, trainable=False, dtype=tf.float64),
            ),
            device,
        )

    def write(self, make_row: Callable[[], Tensor]) -> None:
        """Write the row of this step, if it is one of the first."""

        def put_row() -> Tensor:
            row = tf.reshape(tf.cast(make_row(), tf.float64), [1, self._rows.shape[1]])
            here = tf.range(self.capacity, dtype=tf.int64)[:, tf.newaxis] == self._step
            self._rows.assign(tf.where(here, row, self._rows))
            return tf.constant(True)

        tf.cond(self._step < self.capacity, put_row, lambda: tf.constant(False))

    def advance(self, update: Callable[[Tensor], Tensor]) -> None:
        """Update the totals, and move on to the next step."""
        self._totals.assign(tf.cast(update(self._totals.read_value()), tf.float64))
        self._step.assign_add(1)

    @property
    def steps(self) -> int:
        """Steps so far."""
        return int(self._step.numpy())

    def rows(self) -> Array:
        """The rows written so far, (steps, width)."""
        found: Array = self._rows.numpy()[: self.steps]
        return found

    def totals(self) -> Array:
        """The totals so far."""
        found: Array = self._totals.numpy()
        return found


def _outside_of_strategies(make: Callable[[], Any], device: str) -> Any:
    """What ``make`` returns in a new thread, where no graph and no strategy is active.

    In a replica, a variable that is created becomes one variable of all replicas.
    """
    made: list[Any] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            with tf.device(device):
                made.append(make())
        except BaseException as error:  # raised again in the caller's thread
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return made[0]
