"""What the user tells of a TFRecord's features: shape, and the type of bytes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from saldiag.core.errors import DataError
from saldiag.core.wording import printable
from saldiag.keras_internals.serialization import tensor_message

TENSOR = "tensor"
"""In the place of a type: bytes by ``tf.io.serialize_tensor``, which hold type and shape."""
HOW = "NAME:SHAPE:DTYPE, as in image:28x28x1:uint8 or label::int64; NAME::tensor"


@dataclass(frozen=True)
class Feature:
    """A feature of known shape (without the batch) and type; ``dtype`` None: a whole tensor."""

    name: str
    shape: tuple[int, ...]
    dtype: Any

    def array(self, values: Sequence[list[Any]], where: str) -> Any:
        """The values of all examples as one array, the examples along its first axis.

        Raises:
            DataError: an example holds another number of values, or something else.
        """
        arrays = [self._one(value, f"{where}: feature {printable(self.name)}") for value in values]
        if len({array.shape for array in arrays}) > 1:
            raise DataError(f"{where}: feature {printable(self.name)}: of several shapes")
        return np.stack(arrays)

    def _one(self, value: list[Any], told: str) -> Any:
        if self.dtype is None:
            return _tensor(value, told)
        given = value[0] if len(value) == 1 else value
        try:
            flat = (
                np.frombuffer(given, self.dtype)
                if isinstance(given, bytes)
                else np.array(value).astype(self.dtype)
            )
        except ValueError as error:
            raise DataError(f"{told}: no values of {self.dtype}: {error}") from error
        if flat.size != math.prod(self.shape):
            shape = "x".join(map(str, self.shape)) or "a single value"
            raise DataError(f"{told}: {flat.size} values of {self.dtype} do not fill {shape}")
        return flat.reshape(self.shape)


def _tensor(value: list[Any], told: str) -> Any:
    import tensorflow as tf

    try:
        return tf.make_ndarray(tensor_message(value[0]))
    except Exception as error:  # protobuf's own, whose type differs by its implementation
        raise DataError(f"{told}: no serialized tensor") from error


def parse_features(specs: Sequence[str]) -> dict[str, Feature]:
    """Read ``--features``, one text a feature.

    Raises:
        DataError: one is not ``NAME:SHAPE:DTYPE``, or two are of one name.
    """
    found = [_feature(spec) for spec in specs]
    by_name = {feature.name: feature for feature in found}
    if len(by_name) < len(found):
        raise DataError("--features: two of them have one name")
    return by_name


def _feature(spec: str) -> Feature:
    name, *rest = spec.rsplit(":", 2)  # a name may have colons
    try:
        size, kind = rest
        shape = tuple(int(number) for number in size.split("x")) if size else ()
        dtype = None if kind == TENSOR else np.dtype(kind)
    except (TypeError, ValueError) as error:
        raise DataError(f"--features {printable(spec)}: expected {HOW}") from error
    known = dtype is None or dtype.kind in "biuf"
    if not name or not known or any(number < 1 for number in shape) or (shape and dtype is None):
        raise DataError(f"--features {printable(spec)}: expected {HOW}")
    return Feature(name, shape, dtype)
