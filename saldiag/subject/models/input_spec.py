"""What a model takes, and whether data fits into it: both shapes in one sentence where not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

from saldiag.core.errors import DataError
from saldiag.core.wording import printable
from saldiag.keras_internals.layers import flattened_layers

Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class InputSpec:
    """What is known of a model before it is called; shapes are with the batch, ``(None, 4)``.

    ``inputs`` are names and shapes, empty where the model tells only when it is called (subclassed
    ones). ``output`` is the shape of the only output, None where there are several or it is not
    known. ``one_hot`` says that the loss compares with one number for each class.
    """

    inputs: tuple[tuple[str, Shape], ...] = ()
    output: Shape | None = None
    one_hot: bool = False
    ignored_class: int | None = None
    scales: bool = False

    @property
    def classes(self) -> int | None:
        """Numbers of the last axis of the output."""
        return self.output[-1] if self.output else None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the inputs."""
        return tuple(name for name, _ in self.inputs)

    @property
    def shape(self) -> Shape | None:
        """The shape of the only input; None where there are several or it is not known."""
        return self.inputs[0][1] if len(self.inputs) == 1 else None


def input_spec_of(model: Any) -> InputSpec:
    """What ``model`` takes; it is compiled already, and is not called."""
    inputs = keras.tree.flatten(getattr(model, "inputs", None) or [])
    outputs = keras.tree.flatten(getattr(model, "outputs", None) or [])
    scaling = (keras.layers.Rescaling, keras.layers.Normalization)
    return InputSpec(
        tuple((str(tensor.name), tuple(tensor.shape)) for tensor in inputs),
        tuple(outputs[0].shape) if len(outputs) == 1 else None,
        _one_hot(getattr(model, "loss", None)),
        getattr(getattr(model, "loss", None), "ignore_class", None),
        any(isinstance(layer, scaling) for layer in flattened_layers(model)),
    )


def _one_hot(loss: Any) -> bool:
    name = getattr(loss, "name", None) or getattr(loss, "__name__", loss)
    return isinstance(name, str) and "categorical" in name and "sparse" not in name


def check_fit(takes: InputSpec, x: Any, model: str, data: str) -> None:
    """Refuse inputs that the model cannot take.

    Args:
        takes: what the model takes; nothing is checked where its inputs are not known.
        x: the input of the first batch.
        model: how to call the model.
        data: how to call the data.

    Raises:
        DataError: their number, names or shapes do not fit; the message has both.
    """
    if not takes.inputs:
        return
    given = _named(x, takes.names)
    wanted = dict(takes.inputs)
    if given is None or len(given) != len(wanted):
        raise _misfit(takes, x, model, data)
    for (name, shape), found in zip(takes.inputs, given, strict=True):
        if not _compatible(shape, found):
            of = f" for {printable(name)}" if len(wanted) > 1 else ""
            raise DataError(
                f"{data} does not fit {model}: the data has the shape {_shown(found)}, the model"
                f" takes {_shown(shape)}{of}{_hint(shape, found)}"
            )


def _named(x: Any, names: Sequence[str]) -> list[Shape] | None:
    """The shapes of the parts of ``x`` in the order of the inputs."""
    if isinstance(x, dict):
        if not set(names) <= set(x):
            return None
        x = [x[name] for name in names]
    return [tuple(leaf.shape) for leaf in keras.tree.flatten(x)]


def _misfit(takes: InputSpec, x: Any, model: str, data: str) -> DataError:
    has = x if isinstance(x, dict) else dict(enumerate(keras.tree.flatten(x), 1))
    given = ", ".join(f"{printable(str(name))} {_shown(leaf.shape)}" for name, leaf in has.items())
    wanted = ", ".join(f"{printable(name)} {_shown(shape)}" for name, shape in takes.inputs)
    return DataError(f"{data} does not fit {model}: the data has {given}, the model takes {wanted}")


def _compatible(wanted: Shape, given: Shape) -> bool:
    if len(wanted) == len(given) + 1 and wanted[-1] in {1, None}:
        wanted = wanted[:-1]  # Keras adds and drops a last axis of 1
    elif len(given) == len(wanted) + 1 and given[-1] == 1:
        given = given[:-1]
    return len(wanted) == len(given) and all(
        side is None or side == other for side, other in zip(wanted, given, strict=True)
    )


def _hint(wanted: Shape, given: Shape) -> str:
    if _compatible(wanted[1:], given):
        return ": the data set is not in batches, add .batch(8)"
    return ""


def _shown(shape: Sequence[int | None]) -> str:
    return str(tuple(shape))
