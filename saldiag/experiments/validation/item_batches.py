"""Batches of the items that a validation draws."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

MAX_ITEMS = 256
"""Validation items from which on no further batch is buffered."""


def has_only_tensors(batches: list[tuple[Any, ...]]) -> bool:
    """Whether no batch has ragged or sparse parts, which cannot be put together differently."""
    leaves = keras.tree.flatten(batches)
    return all(isinstance(leaf, tf.Tensor) for leaf in leaves if leaf is not None)


def rebatch_items(batches: list[tuple[Any, ...]], size: int) -> list[tuple[Any, ...]]:
    """The same items in batches of ``size``; a smaller rest is dropped unless it is all there is.

    A model that was traced for training batches runs on validation batches of the same size without
    being traced again. Batches that cannot be concatenated are returned unchanged.
    """
    if not batches or all(_batch_items(batch) == size for batch in batches):
        return batches
    width = max(len(batch) for batch in batches)
    if any(len(batch) != width for batch in batches):
        return batches
    whole = keras.tree.map_structure(
        lambda *parts: np.concatenate([np.asarray(slice_batch) for slice_batch in parts]), *batches
    )
    count = _batch_items(whole)
    starts = range(0, count - size + 1, size) if count >= size else (0,)

    def slice_batch(start: int) -> tuple[Any, ...]:
        def slice_leaf(leaf: Any) -> Any:
            return tf.constant(leaf[start : start + size])

        return keras.tree.map_structure(slice_leaf, whole)  # type: ignore[no-any-return]

    return [slice_batch(start) for start in starts]


def _batch_items(batch: tuple[Any, ...]) -> int:
    return int(keras.tree.flatten(batch[0])[0].shape[0])


def count_items(batches: list[tuple[Any, ...]]) -> int:
    """Number of items in all batches."""
    return sum(map(_batch_items, batches))
