"""The inputs that a model expects, and whether data fit them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

from saldiag.core.errors import DataError
from saldiag.core.keras_types import KerasModel
from saldiag.core.wording import printable
from saldiag.keras_internals.layers import flattened_layers

Shape = tuple[int | None, ...]
"""A tensor's shape with the batch axis first, such as ``(None, 4)``; None for an open side."""


@dataclass(frozen=True)
class InputSpec:
    """What is known about a model's inputs and output before it is called."""

    inputs: tuple[tuple[str, Shape], ...] = ()
    """Name and shape of each input; empty if only a call shows them (subclassed models)."""
    output_shape: Shape | None = None
    """Shape of the only output; None if there are several or the shape is not known."""
    expects_one_hot: bool = False
    """Whether the loss compares with one value per class (a non-sparse crossentropy)."""
    ignored_class: int | None = None
    """Class number that the loss ignores (its ``ignore_class``); None if it counts all."""
    rescales_inputs: bool = False
    """Whether the model contains a ``Rescaling`` or ``Normalization`` layer."""

    @property
    def output_classes(self) -> int | None:
        """Size of the output's last axis; None if it is not known."""
        return self.output_shape[-1] if self.output_shape else None

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the inputs, in order."""
        return tuple(name for name, _ in self.inputs)

    @property
    def input_shape(self) -> Shape | None:
        """Shape of the only input; None if there are several or the shape is not known."""
        return self.inputs[0][1] if len(self.inputs) == 1 else None


def input_spec_of(model: KerasModel) -> InputSpec:
    """The input spec of a compiled Keras model, which is not called."""
    inputs = keras.tree.flatten(getattr(model, "inputs", None) or [])
    outputs = keras.tree.flatten(getattr(model, "outputs", None) or [])
    scaling = (keras.layers.Rescaling, keras.layers.Normalization)
    return InputSpec(
        tuple((str(tensor.name), tuple(tensor.shape)) for tensor in inputs),
        tuple(outputs[0].shape) if len(outputs) == 1 else None,
        _expects_one_hot(getattr(model, "loss", None)),
        getattr(getattr(model, "loss", None), "ignore_class", None),
        any(isinstance(layer, scaling) for layer in flattened_layers(model)),
    )


def _expects_one_hot(loss: Any) -> bool:
    name = getattr(loss, "name", None) or getattr(loss, "__name__", loss)
    return isinstance(name, str) and "categorical" in name and "sparse" not in name


def check_input_shapes(spec: InputSpec, x: Any, model_name: str, data_name: str) -> None:
    """Refuse inputs that the model cannot be called on.

    Args:
        spec: what the model expects; nothing is checked if its inputs are not known.
        x: inputs of the first batch: an array, a list of arrays, or a dictionary by input name.
        model_name: the model's name in messages.
        data_name: the data's name in messages.

    Raises:
        DataError: number, names or shapes of the inputs do not match; the message has both sides.
    """
    if not spec.inputs:
        return
    given = _shapes_by_input(x, spec.input_names)
    expected = dict(spec.inputs)
    if given is None or len(given) != len(expected):
        raise _mismatch_error(spec, x, model_name, data_name)
    for (name, shape), found in zip(spec.inputs, given, strict=True):
        if not _shapes_compatible(shape, found):
            of_input = f" for {printable(name)}" if len(expected) > 1 else ""
            raise DataError(
                f"{data_name} does not fit {model_name}: the data has shape {_shape_text(found)},"
                f" the model expects {_shape_text(shape)}{of_input}{_batching_hint(shape, found)}"
            )


def _shapes_by_input(x: Any, names: Sequence[str]) -> list[Shape] | None:
    """Shapes of the parts of ``x`` in the order of the inputs; None if an input is missing."""
    if isinstance(x, dict):
        if not set(names) <= set(x):
            return None
        x = [x[name] for name in names]
    return [tuple(leaf.shape) for leaf in keras.tree.flatten(x)]


def _mismatch_error(spec: InputSpec, x: Any, model_name: str, data_name: str) -> DataError:
    parts = x if isinstance(x, dict) else dict(enumerate(keras.tree.flatten(x), 1))
    given = ", ".join(
        f"{printable(str(name))} {_shape_text(leaf.shape)}" for name, leaf in parts.items()
    )
    expected = ", ".join(f"{printable(name)} {_shape_text(shape)}" for name, shape in spec.inputs)
    return DataError(
        f"{data_name} does not fit {model_name}: the data has {given}, the model expects {expected}"
    )


def _shapes_compatible(expected: Shape, given: Shape) -> bool:
    if len(expected) == len(given) + 1 and expected[-1] in {1, None}:
        expected = expected[:-1]  # Keras adds and drops a last axis of 1
    elif len(given) == len(expected) + 1 and given[-1] == 1:
        given = given[:-1]
    return len(expected) == len(given) and all(
        side is None or side == other for side, other in zip(expected, given, strict=True)
    )


def _batching_hint(expected: Shape, given: Shape) -> str:
    if _shapes_compatible(expected[1:], given):
        return ": the data set is not batched, add .batch(8)"
    return ""


def _shape_text(shape: Sequence[int | None]) -> str:
    return str(tuple(shape))
