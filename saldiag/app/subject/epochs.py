"""Data of any format as epochs to train on: split by the seed, shuffled again in each epoch."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from saldiag.app.session.request import DataRequest
from saldiag.app.subject.batches import open_data, split
from saldiag.app.subject.subject import MAX_PICTURES, Batches
from saldiag.core.errors import DataError
from saldiag.core.training.numbers import TrainingNumbers
from saldiag.recipes.training import TrainingData, epoch_seed
from saldiag.subject.data.items import (
    Batch,
    BatchStream,
    Items,
    batches_of_items,
    items_from_arrays,
    split_indices,
)
from saldiag.subject.models.input_spec import InputSpec
from saldiag.subject.models.user_code import user_errors_as


@dataclass(frozen=True)
class Epochs:
    """What to train on and to validate with."""

    data: TrainingData
    """Batches of the training and of the validation."""
    shown: Batches
    """Validation items whose predictions the report shows."""
    notes: tuple[str, ...]
    """Lines to print for the user."""
    validation: tuple[int, ...] = ()
    """Numbers of the image-and-mask pairs to validate with; empty for other data."""


def open_epochs(request: DataRequest, spec: InputSpec, numbers: TrainingNumbers) -> Epochs:
    """Open the data and split them: a tenth, chosen by the seed, is for validation.

    Raises:
        DataError: they cannot be read, do not fit the model, have no end, or are but one item.
    """
    where = str(request.spec)
    found = open_data(request, spec)
    items = _gathered(found, where) if isinstance(found, BatchStream) else found
    training, validation = split(items, request)
    if not training or not validation:
        raise DataError(f"{where}: one item is not enough to train on and to validate with")
    reading = _Reading(items, where)
    size = numbers.batch_size

    def batches(first_epoch: int) -> Any:
        def order() -> Iterator[Sequence[int]]:
            for epoch in itertools.count(first_epoch):
                random = np.random.default_rng(epoch_seed(numbers.seed, epoch))
                yield from split_indices(random.permutation(training).tolist(), size)

        return reading.dataset(order)

    data = TrainingData(
        train=batches,
        steps=math.ceil(len(training) / size),
        validation=reading.dataset(
            lambda: iter(split_indices(validation, size)), math.ceil(len(validation) / size)
        ),
        damage=lambda: reading.failed[0] if reading.failed else None,
    )
    shown = validation[:MAX_PICTURES] if items.pixel_range else []
    names = tuple(items.name_of(number) for number in shown)
    examples = Batches(batches_of_items(items, shown, MAX_PICTURES), names, items.pixel_range)
    pairs = tuple(validation) if request.spec.kind == "pairs" else ()
    return Epochs(data, examples, items.notes, pairs)


@dataclass(frozen=True)
class _Reading:
    """Batches of items as data sets. An error on the way is kept: TensorFlow turns it into text."""

    items: Items
    where: str
    failed: list[DataError] = field(default_factory=list)

    def dataset(
        self,
        numbers: Callable[[], Iterator[Sequence[int]]],
        count: int = int(tf.data.INFINITE_CARDINALITY),
    ) -> Any:
        """The items of each of these ``count`` lists of numbers, as one batch each."""

        def batches() -> Iterator[Batch]:
            for chosen in numbers():
                yield self._read(chosen)

        first = self._read(next(iter(numbers())))
        signature = keras.tree.map_structure(_any_number_of, first)
        dataset = tf.data.Dataset.from_generator(batches, output_signature=signature)
        return dataset.apply(tf.data.experimental.assert_cardinality(count)).prefetch(1)

    def _read(self, numbers: Sequence[int]) -> Batch:
        try:
            with user_errors_as(DataError, self.where):
                return _tupled(self.items.read(numbers))  # type: ignore[no-any-return]
        except DataError as error:
            self.failed.append(error)
            raise


def _any_number_of(part: Any) -> Any:
    array = np.asarray(part)
    return tf.TensorSpec((None, *array.shape[1:]), tf.as_dtype(array.dtype))


def _tupled(nest: Any) -> Any:
    """Lists as tuples: ``tf.data`` would make one tensor of a list."""
    if isinstance(nest, dict):
        return {name: _tupled(part) for name, part in nest.items()}
    if isinstance(nest, (list, tuple)):
        return tuple(_tupled(part) for part in nest)
    return nest


def _gathered(stream: BatchStream, where: str) -> Items:
    """A stream that ends, as items in memory: it is split and shuffled by the seed.

    Raises:
        DataError: it can be read but once, or never ends, or its items are not of one shape.
    """
    if stream.fit_data is None:
        raise DataError(
            f"{where}: can be read but once, or never ends: saldiag train needs arrays, or a"
            " tf.data.Dataset or PyDataset that ends (saldiag run SCRIPT watches any training)"
        )
    with user_errors_as(DataError, where):
        batches = [_tupled(batch) for batch in stream.batches()]
    if not batches:
        raise DataError(f"{where}: there is no batch in it")
    try:
        whole = keras.tree.map_structure(
            lambda *parts: np.concatenate([np.asarray(part) for part in parts]), *batches
        )
    except ValueError as error:
        raise DataError(
            f"{where}: its batches cannot be put together, which saldiag train needs"
            f" ({' '.join(str(error).split())[:200]})"
        ) from error
    return items_from_arrays(whole, where)
