"""Data from outside as items that can be read by number, or as batches in their own order."""

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
    """``count`` items; ``read`` gives those of some numbers as one batch, in that order.

    ``pixels`` is the range of the input's numbers where items are pictures with a mask each,
    which a report can show. ``notes`` are lines for the user. ``fed`` is what the program hands to
    ``fit``, where that is known.
    """

    count: int
    read: Callable[[Sequence[int]], Batch]
    names: Callable[[int], str] = str
    pixels: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()
    fed: Any = None


def of_arrays(parts: Sequence[Any], where: str, notes: tuple[str, ...] = ()) -> Items:
    """Items of arrays in memory, cut along their first axis.

    Args:
        parts: ``(x, y)`` or ``(x, y, sample_weight)``, each an array or a nest of arrays.
        where: how to call the data.
        notes: lines for the user.

    Raises:
        DataError: there is no item, or the arrays are not of one length.
    """
    kept = tuple(keras.tree.map_structure(np.asarray, part) for part in parts if part is not None)
    leaves = keras.tree.flatten(kept)
    if any(leaf.dtype == object for leaf in leaves):
        raise DataError(f"{where}: holds Python objects, not numbers")
    lengths = [len(leaf) if leaf.ndim else 0 for leaf in leaves]
    if not lengths or min(lengths) == 0:
        raise DataError(f"{where}: there is no item in it")
    if len(set(lengths)) > 1:
        shapes = ", ".join(str(leaf.shape) for leaf in leaves)
        raise DataError(f"{where}: the arrays are not of one length: {shapes}")

    def read(numbers: Sequence[int]) -> Batch:
        chosen = np.asarray(numbers, dtype=np.int64)
        batch: Batch = keras.tree.map_structure(lambda leaf: leaf[chosen], kept)
        return batch

    return Items(lengths[0], read, notes=notes)


def in_batches(items: Items, numbers: Sequence[int], size: int) -> tuple[Batch, ...]:
    """The items of these numbers, in order, in batches of ``size``."""
    return tuple(items.read(chosen) for chosen in cut(numbers, size))


def cut(numbers: Sequence[int], size: int) -> list[Sequence[int]]:
    """The numbers in parts of ``size``; the last one has what is left."""
    return [numbers[start : start + size] for start in range(0, len(numbers), size)]


@dataclass(frozen=True)
class Stream:
    """Batches that come in an order of their own; ``count`` of them, None where it is not known.

    ``fed`` is the data set, None where it can be read but once, or never ends.
    """

    batches: Callable[[], Iterator[Batch]]
    count: int | None
    fed: Any = None


def of_value(value: Any, where: str) -> Items | Stream:
    """What a function of the user's returned: arrays, or whatever else ``fit`` takes.

    Raises:
        DataError: it is nothing that ``fit`` takes, or arrays of several lengths.
    """
    import tensorflow as tf

    from saldiag.subject.data.fit_batches import batches_of

    again = isinstance(value, (tf.data.Dataset, keras.utils.PyDataset))
    if again or _is_iterator(value):
        # How many steps of an endless one are an epoch is not known.
        fed = value if again and not _is_endless(value) else None
        return Stream(lambda: batches_of({"x": value, "shuffle": False}), _length(value), fed)
    parts = value if isinstance(value, tuple) else (value,)
    fits = 1 <= len(parts) <= 3 and all(part is None or _is_numbers(part) for part in parts)
    if not fits or parts[0] is None:
        raise DataError(
            f"{where}: returned {type(value).__name__}: expected (x, y) of arrays, a"
            " tf.data.Dataset, a PyDataset or a generator of batches"
        )
    arrays = tuple(keras.tree.map_structure(np.asarray, part) for part in parts if part is not None)
    return replace(of_arrays(arrays, where), fed=arrays[:2])


def _is_iterator(value: Any) -> bool:
    return isinstance(value, Iterator) or type(value).__module__.partition(".")[0] == "torch"


def _length(value: Any) -> int | None:
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


def _is_numbers(part: Any) -> bool:
    leaves = keras.tree.flatten(part)
    return bool(leaves) and all(hasattr(leaf, "shape") for leaf in leaves)
