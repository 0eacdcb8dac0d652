"""What a program hands to ``fit``: the plan of its training, as far as it is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

KERAS_BATCH = 32
"""Items in a batch that ``fit`` cuts arrays into where nothing is said."""


@dataclass(frozen=True)
class FitPlan:
    """The arguments of ``fit`` that a diagnosis can look at; None where the program says nothing.

    ``data`` is what the program trains on as it handed it over (arrays, a ``tf.data.Dataset``, a
    generator, a ``PyDataset``) and is read with care: a dataset can be read again, a generator
    cannot, and neither needs to end. ``validation`` holds batches, as the model gets them; it is
    empty where ``fit`` is given none, and None where it is not known whether it is.
    ``callbacks`` are Keras callbacks.
    """

    data: Any = None
    validation: Sequence[tuple[Any, ...]] | None = None
    validation_targets: Any = None
    """All targets to validate with, where they are an array in memory; None otherwise."""
    epochs: int | None = None
    steps_per_epoch: int | None = None
    batch_size: int | None = None
    shuffle: bool | None = None
    callbacks: tuple[Any, ...] = ()
