"""The first batches that validation draws, buffered on their way to the model."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf

MAX_ITEMS = 256
"""Items from which on no further batch is buffered."""
MAX_BYTES = 64 * 2**20
"""Most bytes that are buffered; the first batch is buffered whatever its size."""


class BatchTap:
    """Buffers the first batches that an evaluation draws and passes each of them on.

    Nothing is drawn twice: a shuffling data set, a random generator inside ``map`` and a Python
    generator give the model the same batches as without the tap. The tap replaces
    ``model.test_function`` while it is attached; the original gets the batches through an iterator
    with the same element spec, so nothing is traced again.
    """

    def __init__(self) -> None:
        self.batches: list[tuple[Any, ...]] = []
        """Batches as the model got them: ``(x,)``, ``(x, y)`` or ``(x, y, sample_weight)``."""
        self.skipped = ""
        """Why nothing could be buffered; empty if something was, or nothing was drawn."""
        self._items = self._bytes = self._passed = 0
        self._full = False

    @property
    def items(self) -> int:
        """Items of the whole evaluation, buffered or not; the last batch is assumed to be full."""
        batch = -(-self._items // max(1, len(self.batches)))
        return self._items + batch * self._passed

    @contextmanager
    def open(self, model: Any) -> Iterator[None]:
        """Buffer the batches that ``model.test_function`` draws inside the block."""
        self.attach(model)
        try:
            yield
        finally:
            self.detach()

    def attach(self, model: Any) -> None:
        """Replace the model's test function."""
        self._model, self._original = model, model.test_function
        self._tapped_function = self._run_tapped
        model.test_function = self._tapped_function

    def detach(self) -> None:
        """Restore the model's test function, unless it was replaced meanwhile."""
        if getattr(self._model, "test_function", None) is self._tapped_function:
            self._model.test_function = self._original

    def _run_tapped(self, iterator: Any) -> Any:
        """Stand in for the test function: draw batches, buffer them, and run it on them."""
        if self._full:
            result = self._original(iterator)  # raises when the iterator is exhausted
            self._passed += getattr(self._model, "steps_per_execution", 1)
            return result
        if not isinstance(iterator, tf.data.Iterator):
            self._full, self.skipped = True, "validation data is distributed over replicas"
            return self._original(iterator)
        # A drawn batch cannot be put back, so the original runs on an iterator over what was drawn.
        drawn = self._draw_batches(iterator)
        if not drawn:
            return self._original(iterator)  # exhausted: the original raises what ends the pass
        for batch in drawn:
            self._buffer_batch(batch)
        return self._original(_iterator_over(drawn, iterator.element_spec))

    def _draw_batches(self, iterator: Any) -> list[Any]:
        """The batches of one call of the test function; fewer at the end of the data."""
        drawn = []
        for _ in range(getattr(self._model, "steps_per_execution", 1)):
            batch = iterator.get_next_as_optional()
            if not batch.has_value():
                break
            drawn.append(batch.get_value())
        return drawn

    def _buffer_batch(self, drawn: Any) -> None:
        """Buffer a batch, unless it does not fit; then stop buffering."""
        batch = drawn if isinstance(drawn, tuple) else (drawn,)
        leaves = [leaf for leaf in keras.tree.flatten(batch) if leaf is not None]
        if not all(isinstance(leaf, tf.Tensor) for leaf in leaves):
            self._full, self.skipped = True, "validation data is ragged or sparse"
            return
        size = sum(math.prod(leaf.shape) * max(1, leaf.dtype.size) for leaf in leaves)
        if self.batches and self._bytes + size > MAX_BYTES:
            self._full = True
            self._passed += 1
            return
        self.batches.append(batch)
        self._bytes += size
        self._items += int(leaves[0].shape[0]) if leaves[0].shape.rank else 0
        self._full = self._items >= MAX_ITEMS


def _iterator_over(batches: list[Any], spec: Any) -> Any:
    """An iterator over these batches with a given element spec, for which nothing is traced again.

    A data set of known tensors has their full shapes in its spec; ``from_variant`` replaces it.
    ``from_generator`` would as well, but changes how the process frees memory.
    """

    def with_spec(batch: Any) -> Any:
        variant = tf.data.experimental.to_variant(tf.data.Dataset.from_tensors(batch))
        return tf.data.experimental.from_variant(variant, spec)

    dataset = with_spec(batches[0])
    for batch in batches[1:]:
        dataset = dataset.concatenate(with_spec(batch))
    return iter(dataset)


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
