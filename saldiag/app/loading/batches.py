"""Data of any format as batches to examine: chosen items, or the first batches of a stream."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from saldiag.app.loading.subject import OverfitData
from saldiag.app.session.request import DataRequest
from saldiag.core.errors import DataError
from saldiag.image_masks.msra10k import VALIDATION_SHARE
from saldiag.subject.data.image_format import ImageFormat, image_format_for
from saldiag.subject.data.items import Batch, BatchStream, Items, batches_of_items, items_or_stream
from saldiag.subject.data.tfrecord_features import parse_features
from saldiag.subject.models.input_spec import InputSpec
from saldiag.subject.models.user_code import evaluate_reference, user_errors_as


def read_data(request: DataRequest, spec: InputSpec) -> tuple[OverfitData, tuple[str, ...]]:
    """Read the batches to examine; returns them, and lines to print for the user.

    Args:
        request: which data to read, and how much of them.
        spec: shapes and dtypes of the model's inputs.

    Raises:
        DataError: the data cannot be read, or do not fit the model's inputs.
    """
    found = open_data(request, spec)
    if isinstance(found, BatchStream):
        where = str(request.spec)
        with user_errors_as(DataError, where):
            return _first_batches(request, found, where), ()
    # Only the subset of a TFRecord was read, so that the subset must not be taken again.
    if request.spec.kind == "tfrecord" and request.subset is not None:
        request = replace(request, subset=1.0)
    return _batches_of_split(request, found), found.notes


def open_data(request: DataRequest, spec: InputSpec) -> Items | BatchStream:
    """Open the data of the request: items with random access, or a stream of batches.

    Raises:
        DataError: the data cannot be read, or do not fit the model's inputs.
    """
    code, kind = request.spec.code, request.spec.kind
    if code is not None:
        value = evaluate_reference(code, DataError)
        with user_errors_as(DataError, str(request.spec)):
            return items_or_stream(value, str(request.spec))
    if kind in ("pairs", "classes"):
        return _open_images(request, spec)
    return _open_records(request, spec)


def _open_images(request: DataRequest, spec: InputSpec) -> Items:
    image_format = _image_format(request, spec)
    if request.spec.kind == "pairs":
        from saldiag.app.loading.image_mask_pairs import pairs_as_items

        return pairs_as_items(request.pairs.items, image_format, spec)
    from saldiag.subject.data.class_folder import open_class_folder

    assert request.spec.path is not None
    return open_class_folder(request.spec.path, image_format, spec)


def _open_records(request: DataRequest, spec: InputSpec) -> Items:
    kind, path = request.spec.kind, request.spec.path
    assert path is not None
    if kind == "npz":
        from saldiag.subject.data.tables import open_npz

        return open_npz(path, request.inputs, request.target, spec)
    if kind == "csv":
        from saldiag.subject.data.tables import open_csv

        return open_csv(path, request.inputs, request.target, spec)
    from saldiag.subject.data.tfrecord import open_tfrecord

    return open_tfrecord(
        path,
        request.inputs,
        request.target,
        spec,
        count=_max_examples(request, path),
        image_format=lambda: _image_format(request, spec),
        features=parse_features(request.features),
    )


def _max_examples(request: DataRequest, path: Path) -> int | None:
    """How many examples of a TFRecord to read; None for all."""
    # Twice the items to memorise, which leaves some for the validation.
    enough = None if request.items == 0 else 2 * request.wanted_items
    if request.subset is None:
        return enough
    from saldiag.subject.data.tfrecord import count_examples

    share = max(math.ceil(request.subset * count_examples(path)), 1)
    return share if enough is None else min(share, enough)


def _image_format(request: DataRequest, spec: InputSpec) -> ImageFormat:
    return image_format_for(spec, request.image_size, request.sizes.image, request.pixels)


def split_items(items: Items, request: DataRequest) -> tuple[list[int], list[int]]:
    """Indexes of the items to train on, and of those to validate with.

    A tenth of the items, drawn with the seed, is held out. Of the rest ``request.subset_fraction``
    is taken, at least one batch.
    """
    order = [int(i) for i in np.random.default_rng(request.seed).permutation(items.count)]
    held = max(round(VALIDATION_SHARE * items.count), 1) if items.count > 1 else 0
    training = order[held:]
    count = max(round(request.subset_fraction * len(training)), request.sizes.batch)
    return training[:count], order[:held]


def _batches_of_split(request: DataRequest, items: Items) -> OverfitData:
    """The items to memorise as batches, and a batch of the held-out tenth, drawn with the seed."""
    batch_size = request.sizes.batch
    subset, held_out = split_items(items, request)
    memorised = subset[: request.items_of(len(subset))]
    return OverfitData(
        batches_of_items(items, memorised, batch_size),
        tuple(items.name_of(number) for number in memorised),
        items.pixel_range,
        validation=batches_of_items(items, held_out[:batch_size], batch_size),
        subset_items=len(subset),
        fit_data=items.fit_data,
    )


def _first_batches(request: DataRequest, stream: BatchStream, where: str) -> OverfitData:
    """The first batches with enough items to memorise, and the next batch for the validation."""
    if request.batch_size is not None:
        raise DataError(f"{where}: is batched already, so --batch-size has no effect")
    batches, limit = iter(stream.batches()), _max_batches(request, stream, where)
    if request.items == 0:
        kept = tuple(itertools.islice(batches, limit))
    else:
        count = request.wanted_items
        kept = tuple(_batches_with_items(itertools.islice(batches, limit), count, where))
    if not kept:
        raise DataError(f"{where}: contains no batch")
    items = sum(_batch_size(batch, where) for batch in kept)
    held_out = tuple(itertools.islice(batches, 1))
    return OverfitData(kept, validation=held_out, subset_items=items, fit_data=stream.fit_data)


def _max_batches(request: DataRequest, stream: BatchStream, where: str) -> int | None:
    """The largest number of batches to read; None for no limit."""
    share = request.subset_fraction if request.items == 0 else request.subset
    if share is None:
        return None
    if stream.count is None:
        advice = (
            "give --items N instead of --items 0"
            if request.subset is None
            else "give --items N instead of --subset"
        )
        raise DataError(f"{where}: its number of batches is not known: {advice}")
    return max(math.ceil(share * stream.count), 1)


def _batches_with_items(batches: Iterator[Batch], count: int, where: str) -> Iterator[Batch]:
    """Batches until they hold ``count`` items together."""
    while count > 0:
        batch = next(batches, None)
        if batch is None:
            return
        count -= max(_batch_size(batch, where), 1)
        yield batch


def _batch_size(batch: Batch, where: str) -> int:
    import keras

    first: Any = keras.tree.flatten(batch[0])[0]
    if not len(first.shape):  # bool() of a TensorShape is True even for a scalar
        raise DataError(f"{where}: its batches are scalars: return (x, y) with arrays")
    return int(first.shape[0])
