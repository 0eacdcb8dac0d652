"""What is handed to ``fit``, item by item: order, repetition, overlap with validation, its end.

Only a part is read, and only what can be read twice: arrays, a ``tf.data.Dataset`` but from a
generator, a ``PyDataset``. Items are compared by a hash of their bytes. A data set that shuffles
draws another order each time that it is read, so that ``fit`` gets the one after.
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

from saldiag.core.measurement import Array, ItemFacts
from saldiag.core.training.fit_plan import KERAS_BATCH, FitPlan
from saldiag.keras_internals.data import pipeline_functions, pipeline_inputs
from saldiag_probes.data.masks import Masks
from saldiag_probes.state.isolation import undisturbed
from saldiag_probes.trace.recorder import CannotMeasure, as_batch

MOST_ITEMS = 20_000
MOST_SECONDS = 3.0
MOST_CLASSES = 1000
MOST_VALUES = 64
"""Items whose values are counted."""
MOST_NUMBERS = 4096
"""Numbers of an item among which distinct values are counted."""


@dataclass(frozen=True)
class _Source:
    """Batches in the order of training, and what is known of them without reading."""

    kind: str
    read: Iterable[Any]
    batches: int | None = None
    endless: bool | None = None
    batch_size: int | None = None
    reordered: bool | None = None


@dataclass
class _Seen:
    """What was gathered while reading; the hashes are of input and target together."""

    hashes: list[bytes] = field(default_factory=list)
    labels: list[Array] | None = field(default_factory=list)
    values: list[int] = field(default_factory=list)
    masks: Masks = field(default_factory=Masks)
    batches: int = 0
    largest: int = 0
    whole: bool = False
    comparable: bool = True

    def add(self, raw: Any) -> None:
        x, y = _parts(raw)
        arrays = [*x, *y]
        count = min((len(a) for a in arrays if a.ndim), default=0)
        self.batches += 1
        self.largest = max(self.largest, count)
        self.comparable = self.comparable and all(a.ndim and a.dtype != object for a in x)
        self.hashes += [_hash(arrays, index) for index in range(count)]
        if len(self.values) < MOST_VALUES and self.comparable:
            some = min(count, MOST_VALUES)
            self.values += [sum(_distinct(a[i]) for a in x) for i in range(some)]
        labels = _labels(y)
        if labels is None:
            self.labels = None
        elif self.labels is not None:
            self.labels.append(labels)
        self.masks.add(x, y)


def measure_items(
    model: Any, plan: FitPlan | None, batches: Iterable[Any], *, seconds: float = MOST_SECONDS
) -> ItemFacts:
    """Facts of the items of ``plan.data``, or of ``batches`` where the plan has no data.

    Args:
        model: its random states, and all others, are left as they were.
        plan: what the program hands to ``fit``, if anything is known of it.
        batches: some batches, as the model gets them.
        seconds: for reading the training items; the validation batches are in memory.

    Raises:
        CannotMeasure: the data cannot be read twice, or holds nothing.
    """
    plan = plan or FitPlan()
    source = _source(plan, batches)
    with undisturbed(model):
        seen = _read(source.read, MOST_ITEMS, seconds)
        validation = _read(plan.validation or (), MOST_ITEMS, float("inf"))
    if not seen.hashes:
        raise CannotMeasure("there is no item to look at")
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
        class_counts=_counts(seen.labels),
        validation_class_counts=_counts(_validation_labels(plan, validation)),
        pairing=seen.masks.pairing(),
        greys=seen.masks.greys(),
        **(_order(seen.labels) if ordered and seen.labels else {}),
    )


def _source(plan: FitPlan, batches: Iterable[Any]) -> _Source:
    data = plan.data
    if data is None:
        return _Source("batches", batches)
    if isinstance(data, tf.data.Dataset):
        return _dataset(data)
    if isinstance(data, keras.utils.PyDataset):
        return _py_dataset(data)
    if isinstance(data, (Iterator, itertools.chain)) or callable(data):
        raise CannotMeasure("a generator cannot be read twice")
    return _arrays(data, plan)


def _dataset(data: Any) -> _Source:
    if _from_generator(data):
        raise CannotMeasure("the data set reads a generator, which may not give its items twice")
    size = int(data.cardinality())
    endless = None if size == tf.data.UNKNOWN_CARDINALITY else size == tf.data.INFINITE_CARDINALITY
    return _Source("dataset", data, size if size >= 0 else None, endless, reordered=False)


def _from_generator(data: Any) -> bool:
    """Whether ``Dataset.from_generator`` stands anywhere in the data set's pipeline."""
    for wrapper in pipeline_functions(data):
        graph = wrapper.function.graph.as_graph_def()
        parts = (graph.node, *(function.node_def for function in graph.library.function))
        if any(node.op == "GeneratorDataset" for nodes in parts for node in nodes):
            return True
    return any(_from_generator(source) for source in pipeline_inputs(data))


def _py_dataset(data: Any) -> _Source:
    count = data.num_batches
    indices: Iterable[int] = itertools.count() if count is None else range(count)
    read = (data[index] for index in indices)
    return _Source("dataset", read, count, count is None)


def _arrays(data: Any, plan: FitPlan) -> _Source:
    """Arrays (x,), (x, y) or (x, y, sample_weight), cut into batches; or x alone."""
    parts = data if isinstance(data, tuple) else (data,)
    leaves = [leaf for leaf in keras.tree.flatten(parts) if leaf is not None]
    # Arrays can be files: only their shape is looked at. Sparse matrices are none.
    shapes: list[tuple[int, ...]] = [
        tuple(np.shape(leaf)) if hasattr(leaf, "__array__") else () for leaf in leaves
    ]
    if not shapes or not all(shapes) or len({shape[0] for shape in shapes}) != 1:
        raise CannotMeasure("the data are neither arrays of one length nor a data set")
    count, size = int(shapes[0][0]), plan.batch_size or KERAS_BATCH
    return _Source(
        "arrays",
        (_cut(parts, start, start + size) for start in range(0, count, size)),
        -(-count // size),
        endless=False,
        batch_size=min(size, count),
        reordered=plan.shuffle is not False,
    )


def _cut(parts: Any, start: int, end: int) -> Any:
    def piece(leaf: Any) -> Any:
        return None if leaf is None else leaf[start:end]

    return keras.tree.map_structure(piece, parts)


def _read(batches: Iterable[Any], most: int, seconds: float) -> _Seen:
    """Read until ``most`` items, the time or the data are at their end."""
    seen, end = _Seen(), time.monotonic() + seconds
    for batch in batches:
        seen.add(batch)
        if len(seen.hashes) >= most or time.monotonic() > end:
            return seen
    seen.whole = True
    return seen


def _parts(raw: Any) -> tuple[list[Array], list[Array]]:
    """Inputs and targets of a batch as arrays."""
    batch = as_batch(raw)
    return _flat(batch.x), _flat(batch.y)


def _flat(structure: Any) -> list[Array]:
    leaves = [leaf for leaf in keras.tree.flatten(structure) if leaf is not None]
    if any(isinstance(leaf, (tf.RaggedTensor, tf.SparseTensor)) for leaf in leaves):
        raise CannotMeasure("ragged and sparse tensors are not compared")
    return [np.asarray(leaf) for leaf in leaves]


def _distinct(item: Array) -> int:
    """Distinct values among evenly spaced numbers: to sort all of a large picture takes long."""
    numbers = np.ravel(item)
    return len(np.unique(numbers[:: max(1, -(-numbers.size // MOST_NUMBERS))]))


def _hash(arrays: list[Array], index: int) -> bytes:
    digest = blake2b(digest_size=12)
    for array in arrays:
        item = array[index] if array.ndim else array
        text = array.dtype == object
        digest.update(repr(item).encode() if text else np.ascontiguousarray(item).tobytes())
    return digest.digest()


def _labels(targets: list[Array]) -> Array | None:
    """The class of each item: whole numbers, or one-hot rows; None where there is no such thing."""
    if len(targets) != 1 or targets[0].dtype.kind not in "iufb" or targets[0].ndim not in (1, 2):
        return None
    labels = targets[0]
    if labels.ndim == 2 and labels.shape[1] > 1:
        one_hot = bool(((labels == 0) | (labels == 1)).all() and (labels.sum(axis=1) == 1).all())
        return np.argmax(labels, axis=1) if one_hot else None
    labels = labels.reshape(-1)
    whole = labels.dtype.kind != "f" or bool((labels == np.round(labels)).all())
    return labels.astype(np.int64) if whole else None


def _validation_labels(plan: FitPlan, read: _Seen) -> list[Array] | None:
    """The classes of all validation items if they are in memory, else of those that were read."""
    if plan.validation_targets is None:
        return read.labels
    labels = _labels([np.asarray(plan.validation_targets)[:MOST_ITEMS]])
    return None if labels is None else [labels]


def _counts(parts: list[Array] | None) -> tuple[tuple[int, int], ...]:
    """Classes and their numbers of items; empty where there are too many to be classes."""
    if not parts:
        return ()
    kinds, counts = np.unique(np.concatenate(parts), return_counts=True)
    if len(kinds) > MOST_CLASSES:
        return ()
    return tuple(zip(map(int, kinds), map(int, counts), strict=True))


def _order(parts: list[Array]) -> dict[str, Any]:
    """How often the class changes from item to item, and how often it would by chance."""
    labels = np.concatenate(parts)
    differing = _differing(labels)
    return {
        "classes": len(np.unique(labels)),
        "changes": float((labels[1:] != labels[:-1]).sum()),
        "expected_changes": (len(labels) - 1) * differing,
        "mixture": _mixture(parts, differing),
    }


def _mixture(parts: list[Array], among_all: float) -> float:
    """How mixed the classes of a batch are, beside those of all items; nan where none are."""
    shares = [_differing(part) for part in parts if len(part) > 1]
    return float(np.median(shares)) / among_all if shares and among_all > 0 else float("nan")


def _differing(labels: Array) -> float:
    """The share of pairs of items that are of different classes."""
    count = len(labels)
    _, sizes = np.unique(labels, return_counts=True)
    same = (sizes * (sizes - 1.0)).sum() / (count * (count - 1.0)) if count > 1 else 1.0
    return float(1.0 - same)
