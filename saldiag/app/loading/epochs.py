"""Data of any format as epochs of batches: split with the seed, shuffled again in each epoch."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from saldiag.app.loading.batches import open_data, split_items
from saldiag.app.loading.subject import MAX_SHOWN_IMAGES, Batches
from saldiag.app.session.request import DataRequest
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
    """The data of a training: batches to train on and batches to validate with."""

    data: TrainingData
    """Training and validation batches."""
    shown: Batches
    """Validation items whose predictions the report shows."""
    notes: tuple[str, ...]
    """Lines to print for the user."""
    validation: tuple[int, ...] = ()
    """Indexes of the image-and-mask pairs to validate with; empty for other data."""


def open_epochs(request: DataRequest, spec: InputSpec, numbers: TrainingNumbers) -> Epochs:
    """Open the data and split them: a tenth, drawn with the seed, is for the validation.

    Args:
        request: which data to read, and how much of them.
        spec: shapes and dtypes of the model's inputs.
        numbers: batch size and seed of the training.

    Raises:
        DataError: the data cannot be read, do not fit the model, are endless, or hold only one
            item.
    """
    where = str(request.spec)
    found = open_data(request, spec)
    items = _read_whole_stream(found, where) if isinstance(found, BatchStream) else found
    training, validation = split_items(items, request)
    if not training or not validation:
        raise DataError(f"{where}: contains 1 item: training and validation need at least 2")
    reader = _ItemReader(items, where)
    size = numbers.batch_size

    def training_batches(first_epoch: int) -> Any:
        def shuffled_batches() -> Iterator[Sequence[int]]:
            for epoch in itertools.count(first_epoch):
                random = np.random.default_rng(epoch_seed(numbers.seed, epoch))
                yield from split_indices(random.permutation(training).tolist(), size)

        return reader.as_dataset(shuffled_batches)

    data = TrainingData(
        train=training_batches,
        steps=math.ceil(len(training) / size),
        validation=reader.as_dataset(
            lambda: iter(split_indices(validation, size)), math.ceil(len(validation) / size)
        ),
        damage=lambda: reader.read_errors[0] if reader.read_errors else None,
    )
    shown = validation[:MAX_SHOWN_IMAGES] if items.pixel_range else []
    names = tuple(items.name_of(number) for number in shown)
    examples = Batches(batches_of_items(items, shown, MAX_SHOWN_IMAGES), names, items.pixel_range)
    pairs = tuple(validation) if request.spec.kind == "pairs" else ()
    return Epochs(data, examples, items.notes, pairs)


@dataclass(frozen=True)
class _ItemReader:
    """Reads items as ``tf.data`` data sets. Keeps errors, which TensorFlow reduces to text."""

    items: Items
    """The items to read."""
    where: str
    """Name of the data in messages."""
    read_errors: list[DataError] = field(default_factory=list)
    """Errors so far, in the order in which they were raised."""

    def as_dataset(
        self,
        numbers: Callable[[], Iterator[Sequence[int]]],
        count: int = int(tf.data.INFINITE_CARDINALITY),
    ) -> Any:
        """A data set with one batch for each list of item indexes.

        Args:
            numbers: starts a new iteration over the lists.
            count: how many lists there are; infinite by default.
        """

        def read_batches() -> Iterator[Batch]:
            for chosen in numbers():
                yield self._read_batch(chosen)

        first = self._read_batch(next(iter(numbers())))
        signature = keras.tree.map_structure(_spec_of_any_batch_size, first)
        dataset = tf.data.Dataset.from_generator(read_batches, output_signature=signature)
        return dataset.apply(tf.data.experimental.assert_cardinality(count)).prefetch(1)

    def _read_batch(self, numbers: Sequence[int]) -> Batch:
        try:
            with user_errors_as(DataError, self.where):
                return _lists_as_tuples(self.items.read(numbers))  # type: ignore[no-any-return]
        except DataError as error:
            self.read_errors.append(error)
            raise


def _spec_of_any_batch_size(part: Any) -> Any:
    """The ``tf.TensorSpec`` of a batch with an unknown number of items."""
    array = np.asarray(part)
    return tf.TensorSpec((None, *array.shape[1:]), tf.as_dtype(array.dtype))


def _lists_as_tuples(nest: Any) -> Any:
    """A nest with tuples in place of lists, because ``tf.data`` converts a list to one tensor."""
    if isinstance(nest, dict):
        return {name: _lists_as_tuples(part) for name, part in nest.items()}
    if isinstance(nest, (list, tuple)):
        return tuple(_lists_as_tuples(part) for part in nest)
    return nest


def _read_whole_stream(stream: BatchStream, where: str) -> Items:
    """All items of a finite stream, in memory, where they can be split and shuffled.

    Raises:
        DataError: the stream can be read only once, is endless or empty, or its items differ in
            shape.
    """
    if stream.fit_data is None:
        raise DataError(
            f"{where}: can be read only once, or is endless: saldiag train needs arrays or a finite"
            " tf.data.Dataset or PyDataset (saldiag run SCRIPT watches any training)"
        )
    with user_errors_as(DataError, where):
        batches = [_lists_as_tuples(batch) for batch in stream.batches()]
    if not batches:
        raise DataError(f"{where}: contains no batch")
    try:
        whole = keras.tree.map_structure(
            lambda *parts: np.concatenate([np.asarray(part) for part in parts]), *batches
        )
    except ValueError as error:
        raise DataError(
            f"{where}: its batches cannot be concatenated, which saldiag train requires"
            f" ({' '.join(str(error).split())[:200]})"
        ) from error
    return items_from_arrays(whole, where)
