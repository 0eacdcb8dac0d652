"""The encoder's initial weights: ImageNet's, random ones, or a file's; checked before use."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from saldiag.core.errors import WeightsError
from saldiag.core.measurement import Array
from saldiag.keras_internals.layers import child_layers, own_weights
from saldiag.quicksal.blocks.mobilenet_v2 import NETWORK, SHAPES, UNITS
from saldiag.quicksal.pretrained.imagenet import imagenet_layers
from saldiag.quicksal.pretrained.weight_files import Layers, read_layers

WEIGHT_SPECS = ("auto", "imagenet", "random")
"""Choices of ``--weights`` besides a file."""

ExpectedShapes = Mapping[str, Sequence[tuple[int, ...]]]


@dataclass(frozen=True)
class EncoderWeights:
    """Initial weights of the encoder."""

    kind: Literal["imagenet", "random", "file"]
    """Where they come from."""
    layers: dict[str, list[Array]] = field(default_factory=dict)
    """Arrays by the layer names of ``keras.applications``; empty for random weights and for the
    file of a whole model."""
    network: str = NETWORK
    """The network that they were trained in."""
    note: str | None = None
    """A line for the user; None for none."""
    path: Path | None = None
    """The file; None for ImageNet's and random weights."""
    whole: bool = False
    """Whether the file holds a whole QUICKSAL model."""


def load_encoder_weights(spec: str) -> EncoderWeights:
    """Load the weights that ``--weights`` names.

    Args:
        spec: ``imagenet``; ``random``; ``auto`` (ImageNet's if available, else random); or a file:
            ``.weights.h5``, ``.keras`` or Keras 2's ``.h5`` of a MobileNetV2, the first two also
            of a whole QUICKSAL model, or an ``.npz`` with ``NAME/kernel`` and ``NAME/bias`` for
            every convolution, with BatchNorm folded in.

    Raises:
        WeightsError: the weights cannot be downloaded or read, or belong to another network; the
            message names the first layer that does not match.
    """
    if spec == "random":
        return EncoderWeights("random")
    if spec == "imagenet":
        return _imagenet_weights(": use --weights FILE or --weights random")
    if spec == "auto":
        return _imagenet_or_random()
    path = Path(spec).expanduser()
    if not path.is_file():
        raise WeightsError(_no_such_weights(spec, path))
    return _weights_from_file(path)


def _imagenet_weights(way_out: str) -> EncoderWeights:
    try:
        layers = imagenet_layers()
    except WeightsError as error:
        raise WeightsError(f"{error}{way_out}") from error
    return EncoderWeights("imagenet", _encoder_part(layers, "ImageNet weights"))


def _imagenet_or_random() -> EncoderWeights:
    try:
        return _imagenet_weights("; the encoder starts from random weights")
    except WeightsError as error:
        return EncoderWeights("random", note=str(error))


def _no_such_weights(spec: str, path: Path) -> str:
    if path.is_dir():
        return f"weights {spec}: a folder, not a file"
    near = difflib.get_close_matches(spec, WEIGHT_SPECS, 1)
    hint = (
        f"did you mean {near[0]}?" if near else f"give a file or one of {', '.join(WEIGHT_SPECS)}"
    )
    return f"weights {spec}: no such file ({hint})"


def _weights_from_file(path: Path) -> EncoderWeights:
    layers = read_layers(path)
    if any(name.startswith("encoder/") for name in layers):
        return EncoderWeights("file", path=path, whole=True)
    folded = len(layers.get(UNITS[0].conv, ())) == 2  # a bias, which MobileNetV2 itself lacks
    part = _unfold_encoder if folded else _encoder_part
    return EncoderWeights("file", part(layers, f"weights {path}"), path=path)


def _encoder_part(layers: Layers, where: str) -> Layers:
    check_shapes(layers, SHAPES, where)
    return {name: layers[name] for name in SHAPES}


def _unfold_encoder(layers: Layers, where: str) -> Layers:
    """Split every folded convolution into a convolution and a BatchNorm."""
    check_shapes(layers, {unit.conv: (unit.kernel, (unit.channels,)) for unit in UNITS}, where)
    return {
        name: arrays
        for unit in UNITS
        for name, arrays in unit.unfold_weights(*layers[unit.conv]).items()
    }


def check_shapes(layers: Layers, wanted: ExpectedShapes, where: str) -> None:
    """Check that ``layers`` holds the wanted layers with the wanted shapes, in order.

    Args:
        layers: arrays by layer name.
        wanted: shapes by layer name.
        where: the source of the weights, for the error.

    Raises:
        WeightsError: a layer is missing or has other shapes; names the first one.
    """
    for name, shapes in wanted.items():
        if name not in layers:
            first = next(iter(layers), None)
            found = f"it begins with {first!r}" if first else "it holds no layer"
            raise WeightsError(f"{where}: {name} is missing (another model? {found})")
        there = [array.shape for array in layers[name]]
        if there != list(shapes):
            raise WeightsError(
                f"{where}: {name} has {_format_shapes(there)},"
                f" but the model needs {_format_shapes(shapes)}"
            )


def _format_shapes(shapes: Sequence[tuple[int, ...]]) -> str:
    return " ".join("x".join(map(str, shape)) or "a number" for shape in shapes) or "no weights"


def load_model_weights(model: Any, path: Path) -> None:
    """Fill a whole model from a ``.weights.h5`` or ``.keras`` file of the same model.

    Everything is checked before anything is assigned: an error leaves the model unchanged.

    Raises:
        WeightsError: the file cannot be read, or a layer is missing, unknown or of another shape.
    """
    layers = read_layers(path)
    own = dict(_layers_with_variables(model, ""))
    shapes = {name: [tuple(v.shape) for v in variables] for name, variables in own.items()}
    check_shapes(layers, shapes, f"weights {path}")
    unknown = next((name for name in layers if name not in own), None)
    if unknown is not None:
        raise WeightsError(f"weights {path}: {unknown} is not in {model.name} (another model?)")
    for name, variables in own.items():
        for variable, value in zip(variables, layers[name], strict=True):
            variable.assign(value)


def _layers_with_variables(parent: Any, prefix: str) -> Iterator[tuple[str, list[Any]]]:
    """Path and variables of every layer below ``parent`` that has variables of its own."""
    for layer in child_layers(parent):
        variables = own_weights(layer)
        if variables:
            yield f"{prefix}{layer.name}", variables
        yield from _layers_with_variables(layer, f"{prefix}{layer.name}/")
