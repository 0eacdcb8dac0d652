"""Training of any model: compile it, build it under a dtype policy, feed it epoch by epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from saldiag.core.errors import DataError
from saldiag.recipes.losses import loss_by_name


def compile_model(
    model: Any,
    *,
    loss: str | Any = "mae",
    learning_rate: float | Any = 1e-3,
    metrics: Sequence[Any] = (),
) -> Any:
    """Compile ``model`` with Adam, without XLA, and return it.

    If the model was built under the mixed_float16 policy, Keras wraps the optimizer into a
    LossScaleOptimizer. XLA would take minutes and over 10 GB for QUICKSAL on a CPU.

    Args:
        model: a Keras model.
        loss: a name of ``losses.LOSSES``, or a Keras loss.
        learning_rate: a number or a Keras learning rate schedule.
        metrics: Keras metrics.

    Raises:
        SaldiagError: the name of the loss is unknown.
    """
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate),
        loss=loss_by_name(loss) if isinstance(loss, str) else loss,
        metrics=list(metrics),
        jit_compile=False,
    )
    return model


@contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """Set Keras' global dtype policy inside the block and restore the former one."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def epoch_seed(seed: int, epoch: int) -> int:
    """A 32-bit seed for one epoch (from 0), with which its randomness depends on no earlier one."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])


@dataclass(frozen=True)
class TrainingData:
    """Batches for a training run, as ``fit`` takes them."""

    train: Callable[[int], Any]
    """From the number of an epoch to endless batches from this epoch on, ``steps`` per epoch. Their
    order must depend on the epoch's number alone: a dataset that reshuffles itself would start over
    with its first order after a resume."""
    steps: int
    """Batches per epoch."""
    validation: Any
    """Finite batches, in the same order each time."""
    damage: Callable[[], DataError | None] = lambda: None
    """Called when reading fails while training; returns an error that names the file, if one
    cannot be read."""

    def first_batch(self) -> Any:
        """The first batch of the first epoch.

        Raises:
            DataError: a file of it is damaged.
        """
        try:
            return next(iter(self.train(0)))
        except tf.errors.OpError as error:
            raise self.damage() or error from error
