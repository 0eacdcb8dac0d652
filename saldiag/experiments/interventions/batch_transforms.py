"""Batches joined, taken apart and changed part by part."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from saldiag.experiments.interventions.change import Batches
from saldiag.experiments.overfit.mode_errors import batch_size


def joined(batches: Batches) -> tuple[Any, ...]:
    """All items as one batch."""
    return tuple(
        None if parts[0] is None else keras.tree.map_structure(
            lambda *arrays: np.concatenate(arrays), *parts
        )
        for parts in zip(*batches, strict=True)
    )  # fmt: skip


def split_as(batches: Batches, whole: tuple[Any, ...]) -> Batches:
    """One batch of all items in batches of the sizes that ``batches`` have."""
    ends = np.cumsum([batch_size(batch) for batch in batches])
    return tuple(
        each_array(operator.itemgetter(slice(start, end)), whole)
        for start, end in zip([0, *ends[:-1]], ends, strict=True)
    )


def each_array(function: Callable[[Any], Any], batch: Sequence[Any]) -> tuple[Any, ...]:
    """The batch with each array made another; what is None stays so."""
    return tuple(
        None if part is None else keras.tree.map_structure(function, part) for part in batch
    )


def mapped(batches: Batches, place: int, function: Callable[[int, Any], Any]) -> Batches:
    """The inputs (``place`` 0) or targets (1) with each array by its number made another."""

    def other(part: Any) -> Any:
        arrays = keras.tree.flatten(part)
        return keras.tree.pack_sequence_as(
            part, [function(n, np.asarray(a)) for n, a in enumerate(arrays)]
        )

    return tuple(
        tuple(other(part) if n == place and part is not None else part
              for n, part in enumerate(batch))
        for batch in batches
    )  # fmt: skip
