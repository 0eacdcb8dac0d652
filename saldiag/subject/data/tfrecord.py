"""The first examples of TFRecord files, with the features found from the examples themselves."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from saldiag.core.errors import DataError
from saldiag.core.files.folders import is_tfrecord
from saldiag.core.wording import printable
from saldiag.subject.data.image_format import Frame
from saldiag.subject.data.items import Items, of_arrays
from saldiag.subject.data.mask_targets import as_targets
from saldiag.subject.data.tables import TARGETS, refuse_unknown
from saldiag.subject.data.tfrecord_features import HOW, Feature
from saldiag.subject.models.input_spec import InputSpec

_OWN = "read it in a function of your own (--data FILE.py:FUNCTION)"
_PICTURES = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM")
_GZIP = b"\x1f\x8b"
_BOOKKEEPING = ("height", "width", "depth", "channels", "format", "filename", "id", "shape")

Example = dict[str, Any]
"""Value by feature's name: a list of int or float, or of bytes."""


def open_tfrecord(
    path: Path,
    inputs: Sequence[str],
    target: str | None,
    takes: InputSpec,
    *,
    count: int | None,
    frame: Callable[[], Frame],
    features: Mapping[str, Feature] = {},
) -> Items:
    """The first ``count`` examples, or all, as items.

    Numbers of one length are arrays, in the shape of the model's input where they fill it; bytes
    are pictures, or masks as the target, if they begin as a JPEG, PNG, GIF or BMP. Single numbers
    beside one another are columns of one input.

    Args:
        path: a file, or a folder of them.
        inputs: names of the inputs; empty for those of the model's names, or all but the target.
        target: name of the target; None for the one that custom names so.
        takes: what the model takes.
        count: how many examples to read; None reads all.
        frame: how the model takes pictures; asked for where there is one.
        features: those whose type and shape the user tells, by name.

    Raises:
        DataError: a file is damaged, holds something else than ``tf.train.Example``, or a feature
            cannot be told from the examples, or is not what the user tells.
    """
    where = printable(path)
    examples = [_parsed(raw, where) for raw in itertools.islice(_records(path), count)]
    if not examples:
        raise DataError(f"{where}: no example in it")
    known = sorted(examples[0])
    for name in features:
        refuse_unknown(name, known, "--features", where)
    wanted = _target_of(known, target, where)
    names = _inputs_of(known, inputs, wanted, takes, where)

    def read(name: str, guess: Callable[..., Any]) -> Any:
        values = [example.get(name, []) for example in examples]
        if name in features:
            return features[name].array(values, where)
        return guess(name, _alike(name, values, where), takes, where, frame)

    columns = {name: read(name, _column) for name in names}
    y = read(wanted, _target)
    told = f"{where}: input {printable(', '.join(names))}, target {printable(wanted)}"
    guessed = [name for name in (*names, wanted) if name not in features]
    pictures = any(isinstance(examples[0][name][0], bytes) for name in guessed)
    notes = (told, *(frame().notes if pictures else ()))
    return of_arrays((_joined(columns, takes, where), y), where, notes)


def count_examples(path: Path) -> int:
    """How many examples a file, or a folder of them, holds.

    Raises:
        DataError: a file is damaged.
    """
    return sum(1 for _ in _records(path))


def _records(path: Path) -> Iterator[bytes]:
    files = [path]
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if is_tfrecord(file.name))
    for file in files:
        with file.open("rb") as stream:
            compression = "GZIP" if stream.read(2) == _GZIP else ""
        try:
            for record in tf.data.TFRecordDataset(str(file), compression):
                yield record.numpy()
        except tf.errors.OpError as error:
            raise DataError(f"{printable(file)}: damaged, or no TFRecord") from error


def _parsed(raw: bytes, where: str) -> Example:
    try:
        example = tf.train.Example.FromString(raw)
    except Exception as error:  # protobuf's own, whose type differs by its implementation
        raise DataError(f"{where}: holds no tf.train.Example: {_OWN}") from error
    features = example.features.feature
    if not features:
        raise DataError(f"{where}: holds no tf.train.Example with features: {_OWN}")
    found = {}
    for name, feature in features.items():
        kind = feature.WhichOneof("kind")
        found[name] = list(getattr(feature, kind).value) if kind else []
    return found


def _target_of(known: Sequence[str], target: str | None, where: str) -> str:
    if target is not None:
        refuse_unknown(target, known, "--target", where)
        return target
    found = [name for name in (*TARGETS, "class", "mask") if name in known]
    if not found:
        listed = printable(", ".join(known))
        raise DataError(f"{where}: which feature is the target? --target NAME; it has {listed}")
    return found[0]


def _inputs_of(
    known: Sequence[str], inputs: Sequence[str], target: str, takes: InputSpec, where: str
) -> Sequence[str]:
    for name in inputs:
        refuse_unknown(name, known, "--inputs", where)
    if inputs:
        return inputs
    if takes.names and set(takes.names) <= set(known):
        return takes.names
    left = [name for name in known if name != target and not _is_bookkeeping(name)]
    if not left:
        raise DataError(f"{where}: no feature is left for the input beside {printable(target)}")
    return left


def _is_bookkeeping(name: str) -> bool:
    return name.rpartition("/")[2].lower() in _BOOKKEEPING


def _alike(name: str, values: list[list[Any]], where: str) -> list[list[Any]]:
    """The values of one feature, which are of one length in all examples."""
    lengths = {len(value) for value in values}
    if len(lengths) > 1 or lengths == {0}:
        raise DataError(
            f"{where}: feature {printable(name)}: of several lengths ({min(lengths)} to"
            f" {max(lengths)}), or missing: {_OWN}"
        )
    return values


def _column(
    name: str, values: list[list[Any]], takes: InputSpec, where: str, frame: Callable[[], Frame]
) -> Any:
    """One feature of all examples as one array, the examples along its first axis."""
    if isinstance(values[0][0], bytes):
        told, seen = f"{where}: feature {printable(name)}", frame()
        pictures = [_decoded(value[0], told, seen.channels) for value in values]
        return np.stack([seen.scaled(tf.image.resize(each, seen.size)) for each in pictures])
    array = np.array(values)
    if array.dtype != np.int64:
        array = array.astype(np.float32)
    return _shaped(array, name, takes)


def _target(
    name: str, values: list[list[Any]], takes: InputSpec, where: str, frame: Callable[[], Frame]
) -> Any:
    if not isinstance(values[0][0], bytes):
        array = np.array(values)
        array = array if array.dtype == np.int64 else array.astype(np.float32)
        return array[:, 0] if array.shape[1] == 1 else array
    told, size = f"{where}: feature {printable(name)}", frame().mask_size
    masks = [_decoded(value[0], told, 1) for value in values]
    levels = [tf.image.resize(mask, size, "nearest").numpy()[..., 0] for mask in masks]
    return as_targets(np.stack(levels), takes, lambda index: f"{told} of example {index + 1}")


def _shaped(array: Any, name: str, takes: InputSpec) -> Any:
    """Flat numbers in the shape of the input of that name, or of the only one, if they fill it."""
    shape = dict(takes.inputs).get(name, takes.shape)
    if shape is not None and None not in shape[1:] and array.shape[1] == math.prod(shape[1:]):  # type: ignore[arg-type]
        return array.reshape(-1, *shape[1:])
    return array[:, 0] if array.shape[1] == 1 else array


def _decoded(content: bytes, told: str, channels: int) -> Any:
    if not content.startswith(_PICTURES):
        raise DataError(
            f"{told}: bytes that are no JPEG, PNG, GIF or BMP; their type and shape are written"
            f" nowhere in the file: --features {HOW}"
        )
    try:
        return tf.io.decode_image(content, channels=channels, expand_animations=False)
    except tf.errors.OpError as error:
        raise DataError(f"{told}: damaged picture") from error


def _joined(columns: dict[str, Any], takes: InputSpec, where: str) -> Any:
    if len(takes.names) > 1 and set(takes.names) <= set(columns):
        return {name: columns[name] for name in takes.names}
    arrays = list(columns.values())
    if len(arrays) == 1:
        return arrays[0]
    if all(array.ndim == 1 for array in arrays):
        return np.stack(arrays, axis=1).astype(np.float32)
    shapes = ", ".join(f"{printable(name)} {array.shape}" for name, array in columns.items())
    raise DataError(f"{where}: which features are the input? --inputs NAME,NAME; it has {shapes}")
