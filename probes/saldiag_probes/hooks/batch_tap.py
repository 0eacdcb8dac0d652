"""The first batches that ``fit`` or a validation draws, buffered on their way to the model."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import keras
import tensorflow as tf

from saldiag.core.patching import Patch
from saldiag.keras_internals.distribution import replica_spec

MAX_BYTES = 64 * 2**20
"""Most bytes that are buffered; the first batch is buffered whatever its size."""

NOT_IN_THIS_PROCESS = "the data is distributed over several processes"
"""Why batches are not buffered."""


class BatchTap:
    """Buffers the first batches that a train or test function draws, and passes each of them on.

    Nothing is drawn twice, and nothing before its turn: a shuffling data set, a random generator
    inside ``map`` and a Python generator give the model the same batches as without the tap. The
    tap replaces the model's function while it is attached; the original gets each batch through an
    iterator with the same element spec, so nothing is traced again.

    Args:
        function: the attribute of the model to replace.
        max_items: items from which on no further batch is buffered.
        max_batches: most batches that are buffered.
        on_batch: called before the model gets a newly buffered batch.
    """

    def __init__(
        self,
        function: Literal["train_function", "test_function"],
        *,
        max_items: float = math.inf,
        max_batches: float = math.inf,
        on_batch: Callable[[], None] = lambda: None,
    ) -> None:
        self.batches: list[tuple[Any, ...]] = []
        """Batches as the model got them: ``(x,)``, ``(x, y)`` or ``(x, y, sample_weight)``."""
        self.skipped = ""
        """Why nothing could be buffered; empty if something was, or nothing was drawn."""
        self.is_full = False
        """Whether no further batch will be buffered."""
        self.original: Callable[[Any], Any] = _no_function
        """The model's function while the tap is attached."""
        self.run: Callable[[Callable[[Any], Any], Callable[[], Any]], Any] = _call
        """Calls the model's function with a new iterator over the drawn batches; it gets the
        function and what makes the iterator, and may call both again if the call fails."""
        self._function = function
        self._max_items, self._max_batches, self._on_batch = max_items, max_batches, on_batch
        self._items = self._bytes = self._passed = 0
        self._patch: Patch | None = None

    @property
    def items(self) -> int:
        """Items of the whole pass, buffered or not; the last batch is assumed to be full."""
        batch = -(-self._items // max(1, len(self.batches)))
        return self._items + batch * self._passed

    @contextmanager
    def open(self, model: Any) -> Iterator[None]:
        """Buffer the batches that the model's function draws inside the block."""
        self.attach(model)
        try:
            yield
        finally:
            self.detach()

    def attach(self, model: Any) -> None:
        """Replace the model's function."""
        self._model, self.original = model, getattr(model, self._function)
        self._patch = Patch(model, self._function, self._run_tapped, untracked=True)

    def detach(self) -> None:
        """Restore the model's function, unless it was replaced meanwhile."""
        patch, self._patch = self._patch, None
        if patch is not None:
            patch.withdraw()

    def _run_tapped(self, iterator: Any) -> Any:
        """Stand in for the model's function: draw batches, buffer them, and run it on them."""
        if self.is_full:
            result = self.original(iterator)  # raises when the iterator is exhausted
            self._passed += self._steps_per_call
            return result
        make_iterator = _iterator_maker(iterator, getattr(self._model, "distribute_strategy", None))
        if make_iterator is None:
            self.is_full, self.skipped = True, NOT_IN_THIS_PROCESS
            return self.original(iterator)
        # A drawn batch cannot be put back, so the original runs on an iterator over what was drawn.
        drawn = self._draw_batches(iterator)
        if not drawn:
            return self.original(iterator)  # exhausted: the original raises what ends the pass
        for batch in drawn:
            self._buffer_batch(batch)
        self._on_batch()
        return self.run(self.original, lambda: make_iterator(drawn))

    @property
    def _steps_per_call(self) -> int:
        return int(getattr(self._model, "steps_per_execution", 1))

    def _draw_batches(self, iterator: Any) -> list[Any]:
        """The batches of one call of the function; fewer at the end of the data."""
        drawn = []
        for _ in range(self._steps_per_call):
            batch = iterator.get_next_as_optional()
            if not batch.has_value():
                break
            drawn.append(batch.get_value())
        return drawn

    def _buffer_batch(self, drawn: Any) -> None:
        """Buffer a batch, unless it does not fit; then stop buffering."""
        if self.is_full:
            self._passed += 1
            return
        batch = keras.tree.map_structure(_whole_value, drawn)
        batch = batch if isinstance(batch, tuple) else (batch,)
        leaves = [leaf for leaf in keras.tree.flatten(batch) if isinstance(leaf, tf.Tensor)]
        size = sum(math.prod(leaf.shape) * max(1, leaf.dtype.size) for leaf in leaves)
        if self.batches and self._bytes + size > MAX_BYTES:
            self.is_full = True
            self._passed += 1
            return
        self.batches.append(batch)
        self._bytes += size
        self._items += int(leaves[0].shape[0]) if leaves and leaves[0].shape.rank else 0
        self.is_full = self._items >= self._max_items or len(self.batches) >= self._max_batches


def _no_function(iterator: Any) -> Any:  # noqa: ARG001 - the signature of a step
    raise LookupError("the tap is not attached")


def _call(function: Callable[[Any], Any], make_iterator: Callable[[], Any]) -> Any:
    return function(make_iterator())


def _whole_value(leaf: Any) -> Any:
    """A value as one device would get it.

    The parts of several replicas become one, and an empty value of a generator's batches None.
    """
    if isinstance(leaf, tf.experimental.Optional):
        return None
    return tf.concat(leaf.values, 0) if isinstance(leaf, tf.distribute.DistributedValues) else leaf


def _iterator_maker(iterator: Any, strategy: Any) -> Callable[[list[Any]], Any] | None:
    """A function that makes an iterator like this one over other batches; None if there is none."""
    spec = iterator.element_spec
    if isinstance(iterator, tf.data.Iterator):
        return lambda drawn: iter(_dataset_of(drawn, spec))
    if type(strategy) is not tf.distribute.MirroredStrategy:
        return None
    count = strategy.num_replicas_in_sync

    def make_distributed(drawn: list[Any]) -> Any:
        # Each replica draws one element, the first replica first.
        parts = [_part_of(batch, replica) for batch in drawn for replica in range(count)]
        return iter(strategy.distribute_datasets_from_function(
            lambda _: _dataset_of(parts, replica_spec(spec))
        ))  # fmt: skip

    return make_distributed


def _part_of(batch: Any, replica: int) -> Any:
    """What one replica gets of a batch."""

    def local(leaf: Any) -> Any:
        is_distributed = isinstance(leaf, tf.distribute.DistributedValues)
        return leaf.values[replica] if is_distributed else leaf

    return keras.tree.map_structure(local, batch)


def _dataset_of(batches: list[Any], spec: Any) -> Any:
    """A dataset of these batches with a given element spec, for which nothing is traced again.

    A data set of known tensors has their full shapes in its spec; ``from_variant`` replaces it.
    ``from_generator`` would as well, but changes how the process frees memory.
    """

    def with_spec(batch: Any) -> Any:
        variant = tf.data.experimental.to_variant(tf.data.Dataset.from_tensors(batch))
        return tf.data.experimental.from_variant(variant, spec)

    dataset = with_spec(batches[0])
    for batch in batches[1:]:
        dataset = dataset.concatenate(with_spec(batch))
    return dataset
