"""Transformations of batches: join them, split them, map their arrays."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from saldiag.experiments.interventions.change import Batch, Batches
from saldiag.experiments.overfit.mode_errors import batch_size


def join_batches(batches: Batches) -> Batch:
    """All items of the batches as one batch, in order."""
    return tuple(
        None
        if parts[0] is None
        else keras.tree.map_structure(lambda *arrays: np.concatenate(arrays), *parts)
        for parts in zip(*batches, strict=True)
    )


def split_like(batches: Batches, whole: Batch) -> Batches:
    """One batch of all items, split into batches of the same sizes as ``batches``."""
    ends = np.cumsum([batch_size(batch) for batch in batches])
    return tuple(
        map_arrays(operator.itemgetter(slice(start, end)), whole)
        for start, end in zip([0, *ends[:-1]], ends, strict=True)
    )


def map_arrays(function: Callable[[Any], Any], batch: Sequence[Any]) -> Batch:
    """The batch with ``function`` applied to each array; a part that is None stays None."""
    return tuple(
        None if part is None else keras.tree.map_structure(function, part) for part in batch
    )


def map_batch_part(
    batches: Batches, part_index: int, function: Callable[[int, Any], Any]
) -> Batches:
    """The batches with one part changed: inputs (``part_index`` 0) or targets (1).

    Args:
        batches: the batches.
        part_index: position in the batch's tuple.
        function: from the array's number within the part and the array (items, …) to the new
            array.
    """

    def map_part(part: Any) -> Any:
        arrays = keras.tree.flatten(part)
        return keras.tree.pack_sequence_as(
            part, [function(number, np.asarray(array)) for number, array in enumerate(arrays)]
        )

    return tuple(
        tuple(
            map_part(part) if index == part_index and part is not None else part
            for index, part in enumerate(batch)
        )
        for batch in batches
    )
