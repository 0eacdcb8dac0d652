"""Shapes and dtypes of TFRecord features that the user declares with ``--features``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from saldiag.core.errors import DataError
from saldiag.core.wording import printable
from saldiag.keras_internals.serialization import tensor_message

SERIALIZED_TENSOR = "tensor"
"""Stands in place of a dtype: bytes of ``tf.io.serialize_tensor``, which store dtype and shape."""
FEATURE_SYNTAX = "NAME:SHAPE:DTYPE, such as image:28x28x1:uint8 or label::int64; NAME::tensor"


@dataclass(frozen=True)
class FeatureSpec:
    """Declared shape and dtype of one feature."""

    name: str
    """Name of the feature in the example."""
    shape: tuple[int, ...]
    """Shape of one example's values, without the batch axis; empty for a scalar."""
    dtype: Any
    """numpy dtype; None for a serialized tensor, which stores its own shape and dtype."""

    def to_array(self, values: Sequence[list[Any]], where: str) -> Any:
        """The values of all examples as one array, with the examples along its first axis.

        Args:
            values: the feature's values, one list per example.
            where: the data's name in messages.

        Raises:
            DataError: an example has another number of values, or values of another kind.
        """
        feature = f"{where}: feature {printable(self.name)}"
        arrays = [self._example_array(value, feature) for value in values]
        if len({array.shape for array in arrays}) > 1:
            raise DataError(f"{feature}: the examples differ in shape")
        return np.stack(arrays)

    def _example_array(self, value: list[Any], feature: str) -> Any:
        if self.dtype is None:
            return _parse_tensor(value, feature)
        given = value[0] if len(value) == 1 else value
        try:
            flat = (
                np.frombuffer(given, self.dtype)
                if isinstance(given, bytes)
                else np.array(value).astype(self.dtype)
            )
        except ValueError as error:
            raise DataError(f"{feature}: cannot be read as {self.dtype}: {error}") from error
        if flat.size != math.prod(self.shape):
            shape = "x".join(map(str, self.shape)) or "a single value"
            raise DataError(f"{feature}: {flat.size} values of {self.dtype} do not fill {shape}")
        return flat.reshape(self.shape)


def _parse_tensor(value: list[Any], feature: str) -> Any:
    import tensorflow as tf

    try:
        return tf.make_ndarray(tensor_message(value[0]))
    except Exception as error:  # the type depends on protobuf's implementation
        raise DataError(f"{feature}: not a serialized tensor") from error


def parse_features(specs: Sequence[str]) -> dict[str, FeatureSpec]:
    """Parse the values of ``--features``, one text per feature; returns specs by name.

    Raises:
        DataError: a text is not ``NAME:SHAPE:DTYPE``, or two features have the same name.
    """
    found = [_parse_feature(spec) for spec in specs]
    by_name = {feature.name: feature for feature in found}
    if len(by_name) < len(found):
        raise DataError("--features: two features have the same name")
    return by_name


def _parse_feature(spec: str) -> FeatureSpec:
    name, *rest = spec.rsplit(":", 2)  # a name may have colons
    try:
        size, kind = rest
        shape = tuple(int(number) for number in size.split("x")) if size else ()
        dtype = None if kind == SERIALIZED_TENSOR else np.dtype(kind)
    except (TypeError, ValueError) as error:
        raise DataError(f"--features {printable(spec)}: expected {FEATURE_SYNTAX}") from error
    known = dtype is None or dtype.kind in "biuf"
    if not name or not known or any(number < 1 for number in shape) or (shape and dtype is None):
        raise DataError(f"--features {printable(spec)}: expected {FEATURE_SYNTAX}")
    return FeatureSpec(name, shape, dtype)
