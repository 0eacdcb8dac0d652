"""The arguments that a program passes to ``fit``, as far as they are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

KERAS_BATCH = 32
"""Batch size that ``fit`` uses for arrays by default."""


@dataclass(frozen=True)
class FitPlan:
    """Arguments of ``fit`` that a diagnosis uses; None if the program does not pass them."""

    data: Any = None
    """Training data as passed (arrays, a ``tf.data.Dataset``, a generator, a ``PyDataset``); None
    if unknown. A dataset can be read again, a generator cannot, and neither needs to end."""
    is_drawn_once: bool = False
    """Whether reading ``data`` again would change what the training draws: pipelines that shuffle
    or have state, generators, a ``PyDataset``."""
    validation: Sequence[tuple[Any, ...]] | None = None
    """First validation batches, as the model receives them; empty without validation data, None if
    it is unknown whether there is any."""
    validation_targets: Any = None
    """All validation targets if they are an array in memory, else None."""
    epochs: int | None = None
    """Number of epochs."""
    steps_per_epoch: int | None = None
    """Training steps in an epoch."""
    batch_size: int | None = None
    """Items in a batch."""
    shuffle: bool | None = None
    """Whether ``fit`` shuffles the samples."""
    callbacks: tuple[Any, ...] = ()
    """Keras callbacks, in the order given."""
