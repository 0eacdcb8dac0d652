"""The user's data as items that can be read by index, or as batches in their own order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from saldiag.core.errors import DataError

Batch = tuple[Any, ...]
"""``(x,)``, ``(x, y)`` or ``(x, y, sample_weight)``."""


@dataclass(frozen=True)
class Items:
    """Random-access data: any items can be read as one batch."""

    count: int
    """Number of items."""
    read: Callable[[Sequence[int]], Batch]
    """Returns the items with these indices, in that order, as one batch."""
    name_of: Callable[[int], str] = str
    """Name of the item with that index, for reports; its index if items have no names."""
    pixel_range: tuple[float, float] | None = None
    """Smallest and largest input value if items are RGB images with a mask each, which a report
    can show; None for other data."""
    notes: tuple[str, ...] = ()
    """Lines for the user about how the data were read."""
    fit_data: Any = None
    """The data as the user's program passes them to ``fit``; None if that is not known."""


def items_from_arrays(parts: Sequence[Any], where: str, notes: tuple[str, ...] = ()) -> Items:
    """Items of arrays in memory, indexed along their first axis.

    Args:
        parts: ``(x, y)`` or ``(x, y, sample_weight)``, each an array or a nested structure of
            arrays.
        where: the data's name in messages.
        notes: lines for the user.

    Raises:
        DataError: there are no items, the arrays contain objects, or they differ in length.
    """
    kept = tuple(keras.tree.map_structure(np.asarray, part) for part in parts if part is not None)
    leaves = keras.tree.flatten(kept)
    if any(leaf.dtype == object for leaf in leaves):
        raise DataError(f"{where}: contains Python objects, not numbers")
    lengths = [len(leaf) if leaf.ndim else 0 for leaf in leaves]
    if not lengths or min(lengths) == 0:
        raise DataError(f"{where}: contains no items")
    if len(set(lengths)) > 1:
        shapes = ", ".join(str(leaf.shape) for leaf in leaves)
        raise DataError(f"{where}: the arrays differ in length: {shapes}")

    def read_batch(indices: Sequence[int]) -> Batch:
        chosen = np.asarray(indices, dtype=np.int64)
        batch: Batch = keras.tree.map_structure(lambda leaf: leaf[chosen], kept)
        return batch

    return Items(lengths[0], read_batch, notes=notes)


def batches_of_items(items: Items, indices: Sequence[int], size: int) -> tuple[Batch, ...]:
    """The items with these indices, in order, in batches of ``size``; the last may be smaller."""
    return tuple(items.read(chosen) for chosen in split_indices(indices, size))


def split_indices(indices: Sequence[int], size: int) -> list[Sequence[int]]:
    """The indices in parts of ``size``; the last part may be smaller."""
    return [indices[start : start + size] for start in range(0, len(indices), size)]


@dataclass(frozen=True)
class BatchStream:
    """Sequential-access data: batches that come in their own order."""

    batches: Callable[[], Iterator[Batch]]
    """Returns an iterator over the batches; over a generator it works only once."""
    count: int | None
    """Number of batches; None if it is not known."""
    fit_data: Any = None
    """The dataset to pass to ``fit``; None if it can be read only once, or is endless."""


def items_or_stream(value: Any, where: str) -> Items | BatchStream:
    """The return value of the user's function: arrays, or anything else that ``fit`` accepts.

    Args:
        value: arrays, a ``tf.data.Dataset``, a ``PyDataset``, a torch ``DataLoader``, or a
            generator of batches.
        where: the function's name in messages.

    Raises:
        DataError: ``fit`` does not accept ``value``, or the arrays differ in length.
    """
    import tensorflow as tf

    from saldiag.subject.data.fit_batches import batches_of

    repeatable = isinstance(value, (tf.data.Dataset, keras.utils.PyDataset))
    if repeatable or _is_batch_iterator(value):
        # The length of an epoch of an endless dataset is not known, so ``fit`` cannot have it.
        fit_data = value if repeatable and not _is_endless(value) else None
        return BatchStream(
            lambda: batches_of({"x": value, "shuffle": False}), _batch_count(value), fit_data
        )
    parts = value if isinstance(value, tuple) else (value,)
    accepted = 1 <= len(parts) <= 3 and all(part is None or _is_numeric(part) for part in parts)
    if not accepted or parts[0] is None:
        raise DataError(
            f"{where}: returned {type(value).__name__}: expected arrays (x, y), a"
            " tf.data.Dataset, a PyDataset or a generator of batches"
        )
    arrays = tuple(keras.tree.map_structure(np.asarray, part) for part in parts if part is not None)
    return replace(items_from_arrays(arrays, where), fit_data=arrays[:2])


def _is_batch_iterator(value: Any) -> bool:
    return isinstance(value, Iterator) or type(value).__module__.partition(".")[0] == "torch"


def _batch_count(value: Any) -> int | None:
    import tensorflow as tf

    if isinstance(value, tf.data.Dataset):
        count = int(value.cardinality())
        return count if count >= 0 else None
    if isinstance(value, keras.utils.PyDataset):
        count = value.num_batches
        return None if count is None else int(count)
    return None


def _is_endless(value: Any) -> bool:
    import tensorflow as tf

    if isinstance(value, tf.data.Dataset):
        return bool(value.cardinality() == tf.data.INFINITE_CARDINALITY)
    return bool(value.num_batches is None)


def _is_numeric(part: Any) -> bool:
    leaves = keras.tree.flatten(part)
    return bool(leaves) and all(hasattr(leaf, "shape") for leaf in leaves)
