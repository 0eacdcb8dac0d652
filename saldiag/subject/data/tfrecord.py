"""Reading the first examples of TFRecord files; dtypes and shapes come from the examples."""

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
from saldiag.subject.data.image_format import ImageFormat
from saldiag.subject.data.items import Items, items_from_arrays
from saldiag.subject.data.mask_targets import masks_as_targets
from saldiag.subject.data.tables import TARGET_NAMES, check_name_known
from saldiag.subject.data.tfrecord_features import FEATURE_SYNTAX, FeatureSpec
from saldiag.subject.models.input_spec import InputSpec

_CUSTOM_READER_HINT = "read it in a function (--data FILE.py:FUNCTION)"
# First bytes of JPEG, PNG, GIF and BMP files.
_IMAGE_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM")
_GZIP_SIGNATURE = b"\x1f\x8b"
_METADATA_FEATURES = ("height", "width", "depth", "channels", "format", "filename", "id", "shape")

Example = dict[str, Any]
"""Values by feature name: a list of int, of float or of bytes."""


def open_tfrecord(
    path: Path,
    inputs: Sequence[str],
    target: str | None,
    spec: InputSpec,
    *,
    count: int | None,
    image_format: Callable[[], ImageFormat],
    features: Mapping[str, FeatureSpec] = {},
) -> Items:
    """The first ``count`` examples, or all, as items.

    Numeric features of equal length become arrays, in the shape of the model's input if their
    lengths match. Bytes that begin as a JPEG, PNG, GIF or BMP are decoded to images, or to masks
    as the target. Several scalar features become the columns of one input.

    Args:
        path: a file, or a folder of files.
        inputs: names of the input features; empty to choose the model's input names, or all but
            the target.
        target: name of the target feature; None to choose a common name.
        spec: the model's inputs, output and loss.
        count: how many examples to read; None for all.
        image_format: returns the image format of the model; called only if there are images.
        features: dtype and shape of features that the user declared, by name.

    Raises:
        DataError: a file is damaged or contains no ``tf.train.Example`` messages, or a feature's
            dtype and shape cannot be found out or contradict ``features``.
    """
    where = printable(path)
    examples = [_parse_example(raw, where) for raw in itertools.islice(_raw_records(path), count)]
    if not examples:
        raise DataError(f"{where}: contains no examples")
    known = sorted(examples[0])
    for name in features:
        check_name_known(name, known, "--features", where)
    target_name = _target_feature(known, target, where)
    names = _input_features(known, inputs, target_name, spec, where)

    def feature_array(name: str, infer: Callable[..., Any]) -> Any:
        values = [example.get(name, []) for example in examples]
        if name in features:
            return features[name].to_array(values, where)
        return infer(name, _check_equal_lengths(name, values, where), spec, where, image_format)

    columns = {name: feature_array(name, _input_array) for name in names}
    y = feature_array(target_name, _target_array)
    chosen = f"{where}: input {printable(', '.join(names))}, target {printable(target_name)}"
    inferred = [name for name in (*names, target_name) if name not in features]
    has_images = any(isinstance(examples[0][name][0], bytes) for name in inferred)
    notes = (chosen, *(image_format().notes if has_images else ()))
    return items_from_arrays((_combine_inputs(columns, spec, where), y), where, notes)


def count_examples(path: Path) -> int:
    """Number of examples in a file, or in a folder of files.

    Raises:
        DataError: a file is damaged.
    """
    return sum(1 for _ in _raw_records(path))


def _raw_records(path: Path) -> Iterator[bytes]:
    files = [path]
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if is_tfrecord(file.name))
    for file in files:
        with file.open("rb") as stream:
            compression = "GZIP" if stream.read(2) == _GZIP_SIGNATURE else ""
        try:
            for record in tf.data.TFRecordDataset(str(file), compression):
                yield record.numpy()
        except tf.errors.OpError as error:
            raise DataError(f"{printable(file)}: damaged, or not a TFRecord file") from error


def _parse_example(raw: bytes, where: str) -> Example:
    try:
        example = tf.train.Example.FromString(raw)
    except Exception as error:  # the type depends on protobuf's implementation
        message = f"{where}: contains no tf.train.Example messages: {_CUSTOM_READER_HINT}"
        raise DataError(message) from error
    features = example.features.feature
    if not features:
        raise DataError(
            f"{where}: contains a tf.train.Example without features: {_CUSTOM_READER_HINT}"
        )
    values = {}
    for name, feature in features.items():
        kind = feature.WhichOneof("kind")
        values[name] = list(getattr(feature, kind).value) if kind else []
    return values


def _target_feature(known: Sequence[str], target: str | None, where: str) -> str:
    if target is not None:
        check_name_known(target, known, "--target", where)
        return target
    common = [name for name in (*TARGET_NAMES, "class", "mask") if name in known]
    if not common:
        listed = printable(", ".join(known))
        raise DataError(
            f"{where}: the target feature is not known: pass --target NAME (it has {listed})"
        )
    return common[0]


def _input_features(
    known: Sequence[str], inputs: Sequence[str], target: str, spec: InputSpec, where: str
) -> Sequence[str]:
    for name in inputs:
        check_name_known(name, known, "--inputs", where)
    if inputs:
        return inputs
    if spec.input_names and set(spec.input_names) <= set(known):
        return spec.input_names
    remaining = [name for name in known if name != target and not _is_metadata(name)]
    if not remaining:
        raise DataError(f"{where}: no feature is left as input besides target {printable(target)}")
    return remaining


def _is_metadata(name: str) -> bool:
    return name.rpartition("/")[2].lower() in _METADATA_FEATURES


def _check_equal_lengths(name: str, values: list[list[Any]], where: str) -> list[list[Any]]:
    """Return ``values`` if the feature has the same length in all examples.

    Raises:
        DataError: it has not, or is missing.
    """
    lengths = {len(value) for value in values}
    if len(lengths) > 1 or lengths == {0}:
        raise DataError(
            f"{where}: feature {printable(name)}: varying lengths ({min(lengths)} to"
            f" {max(lengths)}), or missing: {_CUSTOM_READER_HINT}"
        )
    return values


def _input_array(
    name: str,
    values: list[list[Any]],
    spec: InputSpec,
    where: str,
    image_format: Callable[[], ImageFormat],
) -> Any:
    """One feature of all examples as one array, with the examples along its first axis."""
    if isinstance(values[0][0], bytes):
        feature, fmt = f"{where}: feature {printable(name)}", image_format()
        images = [_decode_image(value[0], feature, fmt.channels) for value in values]
        return np.stack([fmt.scale_pixels(tf.image.resize(image, fmt.size)) for image in images])
    array = np.array(values)
    if array.dtype != np.int64:
        array = array.astype(np.float32)
    return _reshape_to_input(array, name, spec)


def _target_array(
    name: str,
    values: list[list[Any]],
    spec: InputSpec,
    where: str,
    image_format: Callable[[], ImageFormat],
) -> Any:
    if not isinstance(values[0][0], bytes):
        array = np.array(values)
        array = array if array.dtype == np.int64 else array.astype(np.float32)
        return array[:, 0] if array.shape[1] == 1 else array
    feature, size = f"{where}: feature {printable(name)}", image_format().mask_size
    masks = [_decode_image(value[0], feature, 1) for value in values]
    levels = [tf.image.resize(mask, size, "nearest").numpy()[..., 0] for mask in masks]
    return masks_as_targets(
        np.stack(levels), spec, lambda index: f"{feature} of example {index + 1}"
    )


def _reshape_to_input(array: Any, name: str, spec: InputSpec) -> Any:
    """Flat values in the shape of the input of that name, or of the only one, if sizes match."""
    shape = dict(spec.inputs).get(name, spec.input_shape)
    if shape is not None and None not in shape[1:] and array.shape[1] == math.prod(shape[1:]):  # type: ignore[arg-type]
        return array.reshape(-1, *shape[1:])
    return array[:, 0] if array.shape[1] == 1 else array


def _decode_image(content: bytes, feature: str, channels: int) -> Any:
    if not content.startswith(_IMAGE_SIGNATURES):
        raise DataError(
            f"{feature}: bytes that are not a JPEG, PNG, GIF or BMP image; the file doesn't declare"
            f" their dtype and shape: pass --features {FEATURE_SYNTAX}"
        )
    try:
        return tf.io.decode_image(content, channels=channels, expand_animations=False)
    except tf.errors.OpError as error:
        raise DataError(f"{feature}: damaged image") from error


def _combine_inputs(columns: dict[str, Any], spec: InputSpec, where: str) -> Any:
    if len(spec.input_names) > 1 and set(spec.input_names) <= set(columns):
        return {name: columns[name] for name in spec.input_names}
    arrays = list(columns.values())
    if len(arrays) == 1:
        return arrays[0]
    if all(array.ndim == 1 for array in arrays):
        return np.stack(arrays, axis=1).astype(np.float32)
    shapes = ", ".join(f"{printable(name)} {array.shape}" for name, array in columns.items())
    raise DataError(
        f"{where}: the input features are not known: pass --inputs NAME,NAME (it has {shapes})"
    )
