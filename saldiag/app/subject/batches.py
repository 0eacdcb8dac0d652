"""Any ``--data`` as the batches to look at: chosen from items, or the first of a stream."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from saldiag.app.session.options import Options, has_gpu, memorised_items, sizes
from saldiag.app.subject.load import Data
from saldiag.core.errors import DataError
from saldiag.image_masks.msra10k import VALIDATION_SHARE
from saldiag.subject.data.image_format import Frame, frame_for
from saldiag.subject.data.items import Batch, Items, Stream, in_batches, of_value
from saldiag.subject.data.tfrecord_features import parse_features
from saldiag.subject.models.input_spec import Takes
from saldiag.subject.models.spec import DataName
from saldiag.subject.models.user_code import made_by, theirs


def read_data(options: Options, name: DataName, takes: Takes) -> tuple[Data, tuple[str, ...]]:
    """The batches to look at, and lines for the user.

    Raises:
        DataError: the data cannot be read, or is not of the kind that the model takes.
    """
    found = opened(options, name, takes)
    if isinstance(found, Stream):
        with theirs(str(name), DataError):
            return _first_batches(options, found, str(name)), ()
    read = name.kind == "tfrecord" and options.subset is not None  # no more than that share
    return _chosen(replace(options, subset=1.0) if read else options, found), found.notes


def opened(options: Options, name: DataName, takes: Takes) -> Items | Stream:
    """The data behind ``--data``, by number or in their own order.

    Raises:
        DataError: they cannot be read, or are not of the kind that the model takes.
    """
    if name.code is not None:
        value = made_by(name.code, DataError)
        with theirs(str(name), DataError):
            return of_value(value, str(name))
    if name.kind in ("pairs", "classes"):
        return _pictures(options, name, takes)
    return _records(options, name, takes)


def _pictures(options: Options, name: DataName, takes: Takes) -> Items:
    frame = _frame(options, takes)
    if name.kind == "pairs":
        from saldiag.app.subject.image_mask_pairs import open_pairs

        return open_pairs(name.path, frame, takes)
    from saldiag.subject.data.class_folder import open_classes

    assert name.path is not None
    return open_classes(name.path, frame, takes)


def _records(options: Options, name: DataName, takes: Takes) -> Items:
    assert name.path is not None
    if name.kind == "npz":
        from saldiag.subject.data.tables import open_npz

        return open_npz(name.path, options.inputs, options.target, takes)
    if name.kind == "csv":
        from saldiag.subject.data.tables import open_csv

        return open_csv(name.path, options.inputs, options.target, takes)
    from saldiag.subject.data.tfrecord import open_tfrecord

    return open_tfrecord(
        name.path, options.inputs, options.target, takes,
        count=_examples(options, name.path), frame=lambda: _frame(options, takes),
        features=parse_features(options.features),
    )  # fmt: skip


def _examples(options: Options, path: Path) -> int | None:
    """How many examples of a TFRecord to read; None for all."""
    # Twice as many as are memorised leave some to validate with.
    wanted = None if options.items == 0 else 2 * _wanted(options)
    if options.subset is None:
        return wanted
    from saldiag.subject.data.tfrecord import count_examples

    share = max(math.ceil(options.subset * count_examples(path)), 1)
    return share if wanted is None else min(share, wanted)


def _frame(options: Options, takes: Takes) -> Frame:
    return frame_for(takes, options.image_size, sizes(options)[0], options.pixels)


def _wanted(options: Options) -> int:
    """How many items to memorise where it is not known how many there are."""
    batch_size = sizes(options)[1]
    return options.items or batch_size * (16 if has_gpu() else 1)


def split(items: Items, options: Options) -> tuple[list[int], list[int]]:
    """Numbers of the items to train on and to validate with: a tenth, by the seed, is held out.

    ``options.share`` of the first are taken, at least a batch.
    """
    order = [int(i) for i in np.random.default_rng(options.seed).permutation(items.count)]
    held = max(round(VALIDATION_SHARE * items.count), 1) if items.count > 1 else 0
    training = order[held:]
    return training[: max(round(options.share * len(training)), sizes(options)[1])], order[:held]


def _chosen(options: Options, items: Items) -> Data:
    """A tenth held out to validate with; the items to memorise from the rest, by the seed."""
    batch_size = sizes(options)[1]
    subset, held_out = split(items, options)
    memorised = subset[: memorised_items(options, batch_size, len(subset))]
    return Data(
        in_batches(items, memorised, batch_size),
        tuple(items.names(number) for number in memorised),
        items.pixels,
        validation=in_batches(items, held_out[:batch_size], batch_size),
        subset_items=len(subset),
        fed=items.fed,
    )


def _first_batches(options: Options, stream: Stream, where: str) -> Data:
    """The first batches that hold as many items as wanted, and the next one to validate with."""
    if options.batch_size is not None:
        raise DataError(f"{where}: comes in batches of its own, which --batch-size cannot change")
    batches, limit = iter(stream.batches()), _limit(options, stream, where)
    if options.items == 0:
        kept = tuple(itertools.islice(batches, limit))
    else:
        kept = tuple(_until(itertools.islice(batches, limit), _wanted(options), where))
    if not kept:
        raise DataError(f"{where}: there is no batch in it")
    items = sum(_size(batch, where) for batch in kept)
    held_out = tuple(itertools.islice(batches, 1))
    return Data(kept, validation=held_out, subset_items=items, fed=stream.fed)


def _limit(options: Options, stream: Stream, where: str) -> int | None:
    """Batches to look at, at the most."""
    share = options.share if options.items == 0 else options.subset
    if share is None:
        return None
    if stream.count is None:
        asked = "--items 0 cannot take all of it" if options.subset is None else (
            "--subset cannot take a share of it: --items says how many"
        )  # fmt: skip
        raise DataError(f"{where}: where it ends is not known: {asked}")
    return max(math.ceil(share * stream.count), 1)


def _until(batches: Iterator[Batch], wanted: int, where: str) -> Iterator[Batch]:
    while wanted > 0:
        batch = next(batches, None)
        if batch is None:
            return
        wanted -= max(_size(batch, where), 1)
        yield batch


def _size(batch: Batch, where: str) -> int:
    import keras

    first: Any = keras.tree.flatten(batch[0])[0]
    if not len(first.shape):  # a TensorShape is true whatever it holds
        raise DataError(f"{where}: its batches are single numbers: it has to give (x, y) of arrays")
    return int(first.shape[0])
