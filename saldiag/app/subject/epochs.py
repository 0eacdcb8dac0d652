"""Any ``--data`` as epochs to train on: split by the seed, shuffled anew in each epoch."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from saldiag.app.examine.examination import PICTURES
from saldiag.app.session.options import Options
from saldiag.app.subject.batches import opened, split
from saldiag.app.subject.load import Batches
from saldiag.core.errors import DataError
from saldiag.core.training.numbers import TrainingNumbers
from saldiag.recipes.training import TrainingData, epoch_seed
from saldiag.subject.data.items import Batch, Items, Stream, cut, in_batches, of_arrays
from saldiag.subject.models.input_spec import Takes
from saldiag.subject.models.spec import DataName
from saldiag.subject.models.user_code import theirs


@dataclass(frozen=True)
class Epochs:
    """What to train on and to validate with, some samples to show, and lines for the user.

    ``validation`` are the numbers of the pairs of image and mask to validate with, in the data
    set's order; empty for other data.
    """

    data: TrainingData
    shown: Batches
    notes: tuple[str, ...]
    validation: tuple[int, ...] = ()


def epochs_of(options: Options, name: DataName, takes: Takes, numbers: TrainingNumbers) -> Epochs:
    """Open the data and split them: a tenth, chosen by the seed, is for validation.

    Raises:
        DataError: they cannot be read, do not fit the model, have no end, or are but one item.
    """
    found = opened(options, name, takes)
    items = _gathered(found, str(name)) if isinstance(found, Stream) else found
    training, validation = split(items, options)
    if not training or not validation:
        raise DataError(f"{name}: one item is not enough to train on and to validate with")
    reading = _Reading(items, str(name))
    size = numbers.batch_size

    def batches(first_epoch: int) -> Any:
        def order() -> Iterator[Sequence[int]]:
            for epoch in itertools.count(first_epoch):
                random = np.random.default_rng(epoch_seed(numbers.seed, epoch))
                yield from cut(random.permutation(training).tolist(), size)

        return reading.dataset(order)

    data = TrainingData(
        train=batches,
        steps=math.ceil(len(training) / size),
        validation=reading.dataset(
            lambda: iter(cut(validation, size)), math.ceil(len(validation) / size)
        ),
        damage=lambda: reading.failed[0] if reading.failed else None,
    )
    shown = validation[:PICTURES] if items.pixels else []
    names = tuple(items.names(number) for number in shown)
    examples = Batches(in_batches(items, shown, PICTURES), names, items.pixels)
    pairs = tuple(validation) if name.kind == "pairs" else ()
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
            with theirs(self.where, DataError):
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


def _gathered(stream: Stream, where: str) -> Items:
    """A stream that ends, as items in memory: it is split and shuffled by the seed.

    Raises:
        DataError: it can be read but once, or never ends, or its items are not of one shape.
    """
    if stream.fed is None:
        raise DataError(
            f"{where}: can be read but once, or never ends: saldiag train needs arrays, or a"
            " tf.data.Dataset or PyDataset that ends (saldiag run SCRIPT watches any training)"
        )
    with theirs(where, DataError):
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
    return of_arrays(whole, where)
