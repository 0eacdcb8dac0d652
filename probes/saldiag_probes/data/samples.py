"""The data passed to ``fit``, item by item: order, repetition, overlap with validation, length.

Only a part is read, and only data that can be read twice: arrays, a ``PyDataset``, and a
``tf.data.Dataset`` that reads no generator. Items are compared by a hash of their bytes. A data set
that shuffles draws another order each time it is read; ``fit`` gets the one after.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from saldiag.core.keras_types import BatchLike, KerasModel, TensorTree
from saldiag.core.measurement import Array, ItemFacts
from saldiag.core.training.fit_plan import KERAS_BATCH, FitPlan
from saldiag.keras_internals.data import pipeline_functions, pipeline_inputs
from saldiag_probes.data.masks import MaskStatistics
from saldiag_probes.state.isolation import preserved_state
from saldiag_probes.trace.batch import as_batch
from saldiag_probes.trace.errors import CannotMeasure

MAX_ITEMS = 20_000
"""Number of training samples, and of validation samples, to read."""
MAX_READ_SECONDS = 3.0
"""Time for reading training samples, in seconds."""
MAX_CLASSES = 1000
"""Number of different labels above which labels are not treated as classes."""
MAX_COUNTED_ITEMS = 64
"""Number of items whose distinct values are counted."""
MAX_COUNTED_NUMBERS = 4096
"""Numbers of one item among which distinct values are counted."""


@dataclass(frozen=True)
class _BatchSource:
    """Batches in the order of training, and what is known about them without reading."""

    kind: str
    """``arrays``, ``dataset``, or ``batches`` if only some batches are known."""
    read: Iterable[Any]
    """The batches."""
    batches: int | None = None
    """Number of batches; None if unknown or endless."""
    endless: bool | None = None
    """Whether the batches never end; None if unknown."""
    batch_size: int | None = None
    """Number of items per batch; None if unknown."""
    reordered: bool | None = None
    """Whether ``fit`` shuffles the items; None if unknown."""


@dataclass
class _ItemStatistics:
    """What was gathered while reading."""

    hashes: list[bytes] = field(default_factory=list)
    """Hash of input and target of each item."""
    labels: list[Array] | None = field(default_factory=list)
    """Class labels of each batch; None if the targets are not classes."""
    values: list[int] = field(default_factory=list)
    """Number of distinct values in each of the first items' inputs."""
    masks: MaskStatistics = field(default_factory=MaskStatistics)
    """Statistics of images with masks."""
    batches: int = 0
    """Number of batches read."""
    largest: int = 0
    """Number of items in the largest batch."""
    whole: bool = False
    """Whether the data were read to their end."""
    comparable: bool = True
    """Whether all inputs are arrays of numbers, whose bytes can be compared."""

    def add_batch(self, raw: BatchLike) -> None:
        x, y = _inputs_and_targets(raw)
        arrays = [*x, *y]
        count = min((len(a) for a in arrays if a.ndim), default=0)
        self.batches += 1
        self.largest = max(self.largest, count)
        self.comparable = self.comparable and all(a.ndim and a.dtype != object for a in x)
        self.hashes += [_hash_item(arrays, index) for index in range(count)]
        if len(self.values) < MAX_COUNTED_ITEMS and self.comparable:
            counted = min(count, MAX_COUNTED_ITEMS)
            self.values += [sum(_count_distinct(a[i]) for a in x) for i in range(counted)]
        labels = _class_labels(y)
        if labels is None:
            self.labels = None
        elif self.labels is not None:
            self.labels.append(labels)
        self.masks.add_batch(x, y)


def measure_items(
    model: KerasModel,
    plan: FitPlan | None,
    batches: Iterable[BatchLike],
    *,
    seconds: float = MAX_READ_SECONDS,
) -> ItemFacts:
    """Facts about the items of ``plan.data``, or of ``batches`` if the plan has no data.

    Args:
        model: any Keras model; it and all random states are restored afterwards.
        plan: what the program passes to ``fit``; None if nothing is known.
        batches: some batches, as the model gets them.
        seconds: time for reading the training samples; validation batches are in memory.

    Raises:
        CannotMeasure: the data cannot be read twice, or are empty.
    """
    plan = plan or FitPlan()
    source = _open_source(plan, batches)
    with preserved_state(model):
        seen = _read_items(source.read, MAX_ITEMS, seconds)
        validation = _read_items(plan.validation or (), MAX_ITEMS, float("inf"))
    if not seen.hashes:
        raise CannotMeasure("the data is empty")
    known = set(seen.hashes)
    compared = seen.comparable and bool(validation.hashes)
    ordered = source.kind != "batches"
    return ItemFacts(
        source=source.kind,
        read=len(seen.hashes),
        whole=seen.whole and not source.endless,
        batches=seen.batches if ordered and seen.whole else source.batches,
        endless=source.endless,
        batch_size=(source.batch_size or seen.largest) if ordered else plan.batch_size,
        steps_per_epoch=plan.steps_per_epoch,
        reordered=source.reordered,
        validation=len(validation.hashes),
        shared=sum(item in known for item in validation.hashes) if compared else None,
        repeated=None if source.endless else len(seen.hashes) - len(known),
        values=float(np.median(seen.values)) if seen.values else float("nan"),
        class_counts=_class_counts(seen.labels),
        validation_class_counts=_class_counts(_validation_labels(plan, validation)),
        pairing=seen.masks.mask_pairing(),
        greys=seen.masks.mask_greys(),
        **(_class_order(seen.labels) if ordered and seen.labels else {}),
    )


def _open_source(plan: FitPlan, batches: Iterable[BatchLike]) -> _BatchSource:
    data = plan.data
    if data is None:
        return _BatchSource("batches", batches)
    if isinstance(data, tf.data.Dataset):
        return _dataset_source(data)
    if isinstance(data, keras.utils.PyDataset):
        return _py_dataset_source(data)
    if isinstance(data, (Iterator, itertools.chain)) or callable(data):
        raise CannotMeasure("a generator cannot be read twice")
    return _array_source(data, plan)


def _dataset_source(data: Any) -> _BatchSource:
    if _reads_generator(data):
        raise CannotMeasure(
            "the data set reads from a generator, which may not yield the same samples twice"
        )
    size = int(data.cardinality())
    endless = None if size == tf.data.UNKNOWN_CARDINALITY else size == tf.data.INFINITE_CARDINALITY
    return _BatchSource("dataset", data, size if size >= 0 else None, endless, reordered=False)


def _reads_generator(data: Any) -> bool:
    """Whether a ``Dataset.from_generator`` is part of the data set's pipeline."""
    for wrapper in pipeline_functions(data):
        graph = wrapper.function.graph.as_graph_def()
        parts = (graph.node, *(function.node_def for function in graph.library.function))
        if any(node.op == "GeneratorDataset" for nodes in parts for node in nodes):
            return True
    return any(_reads_generator(source) for source in pipeline_inputs(data))


def _py_dataset_source(data: Any) -> _BatchSource:
    count = data.num_batches
    indices: Iterable[int] = itertools.count() if count is None else range(count)
    read = (data[index] for index in indices)
    return _BatchSource("dataset", read, count, count is None)


def _array_source(data: Any, plan: FitPlan) -> _BatchSource:
    """Arrays ``x``, ``(x,)``, ``(x, y)`` or ``(x, y, sample_weight)``, cut into batches."""
    parts = data if isinstance(data, tuple) else (data,)
    leaves = [leaf for leaf in keras.tree.flatten(parts) if leaf is not None]
    # Read only the shapes: an array can be a memory-mapped file. A sparse matrix is no array.
    shapes: list[tuple[int, ...]] = [
        tuple(np.shape(leaf)) if hasattr(leaf, "__array__") else () for leaf in leaves
    ]
    if not shapes or not all(shapes) or len({shape[0] for shape in shapes}) != 1:
        raise CannotMeasure("the data is neither arrays of equal length nor a data set")
    count, size = int(shapes[0][0]), plan.batch_size or KERAS_BATCH
    return _BatchSource(
        "arrays",
        (_slice_batch(parts, start, start + size) for start in range(0, count, size)),
        -(-count // size),
        endless=False,
        batch_size=min(size, count),
        reordered=plan.shuffle is not False,
    )


def _slice_batch(parts: Any, start: int, end: int) -> Any:
    def slice_leaf(leaf: Any) -> Any:
        return None if leaf is None else leaf[start:end]

    return keras.tree.map_structure(slice_leaf, parts)


def _read_items(batches: Iterable[BatchLike], max_items: int, seconds: float) -> _ItemStatistics:
    """Read until ``most`` items, the time or the data run out."""
    seen, deadline = _ItemStatistics(), time.monotonic() + seconds
    for batch in batches:
        seen.add_batch(batch)
        if len(seen.hashes) >= max_items or time.monotonic() > deadline:
            return seen
    seen.whole = True
    return seen


def _inputs_and_targets(raw: BatchLike) -> tuple[list[Array], list[Array]]:
    """Inputs and targets of a batch as flat lists of arrays."""
    batch = as_batch(raw)
    return _flat_arrays(batch.x), _flat_arrays(batch.y)


def _flat_arrays(structure: TensorTree) -> list[Array]:
    leaves = [leaf for leaf in keras.tree.flatten(structure) if leaf is not None]
    if any(isinstance(leaf, (tf.RaggedTensor, tf.SparseTensor)) for leaf in leaves):
        raise CannotMeasure("ragged and sparse tensors cannot be compared")
    return [np.asarray(leaf) for leaf in leaves]


def _count_distinct(item: Array) -> int:
    """Distinct values among evenly spaced numbers: sorting a whole large image takes too long."""
    numbers = np.ravel(item)
    return len(np.unique(numbers[:: max(1, -(-numbers.size // MAX_COUNTED_NUMBERS))]))


def _hash_item(arrays: list[Array], index: int) -> bytes:
    """Hash of one item's bytes in all arrays."""
    digest = blake2b(digest_size=12)
    for array in arrays:
        item = array[index] if array.ndim else array
        is_object = array.dtype == object
        digest.update(repr(item).encode() if is_object else np.ascontiguousarray(item).tobytes())
    return digest.digest()


def _class_labels(targets: list[Array]) -> Array | None:
    """The class of each item, from whole numbers or one-hot rows; None if they are neither."""
    if len(targets) != 1 or targets[0].dtype.kind not in "iufb" or targets[0].ndim not in (1, 2):
        return None
    labels = targets[0]
    if labels.ndim == 2 and labels.shape[1] > 1:
        one_hot = bool(((labels == 0) | (labels == 1)).all() and (labels.sum(axis=1) == 1).all())
        return np.argmax(labels, axis=1) if one_hot else None
    labels = labels.reshape(-1)
    whole = labels.dtype.kind != "f" or bool((labels == np.round(labels)).all())
    return labels.astype(np.int64) if whole else None


def _validation_labels(plan: FitPlan, read: _ItemStatistics) -> list[Array] | None:
    """The classes of all validation samples if they are in memory, else of those that were read."""
    if plan.validation_targets is None:
        return read.labels
    labels = _class_labels([np.asarray(plan.validation_targets)[:MAX_ITEMS]])
    return None if labels is None else [labels]


def _class_counts(parts: list[Array] | None) -> tuple[tuple[int, int], ...]:
    """``(class, number of items)`` pairs; empty if there are too many different labels."""
    if not parts:
        return ()
    kinds, counts = np.unique(np.concatenate(parts), return_counts=True)
    if len(kinds) > MAX_CLASSES:
        return ()
    return tuple(zip(map(int, kinds), map(int, counts), strict=True))


def _class_order(parts: list[Array]) -> dict[str, Any]:
    """How often the class changes from item to item, and how often it would by chance."""
    labels = np.concatenate(parts)
    differing_share = _differing_pair_share(labels)
    return {
        "classes": len(np.unique(labels)),
        "changes": float((labels[1:] != labels[:-1]).sum()),
        "expected_changes": (len(labels) - 1) * differing_share,
        "mixture": _batch_mixture(parts, differing_share),
    }


def _batch_mixture(parts: list[Array], among_all: float) -> float:
    """How mixed the classes within a batch are, relative to all items; nan if undefined."""
    shares = [_differing_pair_share(part) for part in parts if len(part) > 1]
    return float(np.median(shares)) / among_all if shares and among_all > 0 else float("nan")


def _differing_pair_share(labels: Array) -> float:
    """Share of pairs of items with different classes (Gini-Simpson index, Simpson, 1949)."""
    count = len(labels)
    _, sizes = np.unique(labels, return_counts=True)
    same = (sizes * (sizes - 1.0)).sum() / (count * (count - 1.0)) if count > 1 else 1.0
    return float(1.0 - same)
