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
"""Items that are buffered."""
MAX_BYTES = 64 * 2**20
"""Bytes that are buffered; the first batch is kept whatever its size."""


class BatchTap:
    """Buffers the first batches that an evaluation draws and hands each of them on.

    Nothing is drawn twice: a data set that shuffles, a random generator inside ``map`` and a Python
    generator give the model what they would give it without the tap. The tap takes the place of
    ``model.test_function`` while it is open; batches reach the original through an iterator of the
    same element spec, for which nothing is traced again.
    """

    def __init__(self) -> None:
        self.batches: list[tuple[Any, ...]] = []
        """Batches as the model got them: ``(x,)``, ``(x, y)`` or ``(x, y, sample_weight)``."""
        self.skipped = ""
        """Why nothing could be buffered; empty where something was, or nothing was drawn."""
        self._items = self._bytes = self._passed = 0
        self._full = False

    @property
    def items(self) -> int:
        """Items of the whole evaluation, buffered or not; the last batch counts as a full one."""
        batch = -(-self._items // max(1, len(self.batches)))
        return self._items + batch * self._passed

    @contextmanager
    def open(self, model: Any) -> Iterator[None]:
        """Buffer what ``model.test_function`` draws inside the block."""
        self.attach(model)
        try:
            yield
        finally:
            self.detach()

    def attach(self, model: Any) -> None:
        """Take the place of the model's test function."""
        self._model, self._original = model, model.test_function
        self._trace_losses = self._run_tapped
        model.test_function = self._trace_losses

    def detach(self) -> None:
        """Put the model's own test function back, unless it was replaced meanwhile."""
        if getattr(self._model, "test_function", None) is self._trace_losses:
            self._model.test_function = self._original

    def _run_tapped(self, iterator: Any) -> Any:
        if self._full:
            result = self._original(iterator)  # raises where it is exhausted
            self._passed += getattr(self._model, "steps_per_execution", 1)
            return result
        if not isinstance(iterator, tf.data.Iterator):
            self._full, self.skipped = True, "validation data is distributed over replicas"
            return self._original(iterator)
        drawn = self._draw_batches(iterator)
        if not drawn:
            return self._original(iterator)  # exhausted: the original ends the pass as always
        for batch in drawn:
            self._buffer_batch(batch)
        return self._original(_iterator_over(drawn, iterator.element_spec))

    def _draw_batches(self, iterator: Any) -> list[Any]:
        drawn = []
        for _ in range(getattr(self._model, "steps_per_execution", 1)):
            batch = iterator.get_next_as_optional()
            if not batch.has_value():
                break
            drawn.append(batch.get_value())
        return drawn

    def _buffer_batch(self, drawn: Any) -> None:
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
    """An iterator over these batches with the type spec of the one they came from: no new trace.

    A data set of known tensors has their full shapes in its spec; ``from_variant`` gives it the
    other one. ``from_generator`` would do so as well, but changes how the process frees memory.
    """

    def with_spec(batch: Any) -> Any:
        variant = tf.data.experimental.to_variant(tf.data.Dataset.from_tensors(batch))
        return tf.data.experimental.from_variant(variant, spec)

    dataset = with_spec(batches[0])
    for batch in batches[1:]:
        dataset = dataset.concatenate(with_spec(batch))
    return iter(dataset)


def rebatch_items(batches: list[tuple[Any, ...]], size: int) -> list[tuple[Any, ...]]:
    """The same items in batches of ``size``; a rest is left out, unless it is all there is.

    A model that was traced for training batches takes validation batches of the same size without
    another trace.
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
    """Items in all batches."""
    return sum(map(_batch_items, batches))
