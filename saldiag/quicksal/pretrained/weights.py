"""The encoder's start weights: ImageNet's, random ones, or those of a file; checked before use."""

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

SPECS = ("auto", "imagenet", "random")

Shapes = Mapping[str, Sequence[tuple[int, ...]]]


@dataclass(frozen=True)
class EncoderWeights:
    """Weights of MobileNetV2, by the layer names of ``keras.applications``.

    ``layers`` is empty where ``kind`` is random, and where ``whole`` says that the file at ``path``
    holds a whole QUICKSAL model. ``note`` is a line for the user, or None.
    """

    kind: Literal["imagenet", "random", "file"]
    layers: dict[str, list[Array]] = field(default_factory=dict)
    network: str = NETWORK
    note: str | None = None
    path: Path | None = None
    whole: bool = False


def load_encoder_weights(spec: str) -> EncoderWeights:
    """Get the weights that ``--weights`` names.

    Args:
        spec: ``imagenet``; ``random``; ``auto`` (ImageNet's if they can be had, else random); or a
            file: ``.weights.h5``, ``.keras`` or Keras 2's ``.h5`` of a MobileNetV2, the first two
            also of a whole QUICKSAL model, or an ``.npz`` with ``NAME/kernel`` and ``NAME/bias``
            for every convolution, BatchNorm folded into the bias.

    Raises:
        WeightsError: the weights cannot be had or read, or belong to another network; the message
            names the first layer that does not fit.
    """
    if spec == "random":
        return EncoderWeights("random")
    if spec == "imagenet":
        return _imagenet(": give a file with --weights, or --weights random")
    if spec == "auto":
        return _imagenet_or_random()
    path = Path(spec).expanduser()
    if not path.is_file():
        raise WeightsError(_no_such_weights(spec, path))
    return _from_file(path)


def _imagenet(way_out: str) -> EncoderWeights:
    try:
        layers = imagenet_layers()
    except WeightsError as error:
        raise WeightsError(f"{error}{way_out}") from error
    return EncoderWeights("imagenet", _encoder_part(layers, "ImageNet weights"))


def _imagenet_or_random() -> EncoderWeights:
    try:
        return _imagenet("; the encoder starts at random")
    except WeightsError as error:
        return EncoderWeights("random", note=str(error))


def _no_such_weights(spec: str, path: Path) -> str:
    if path.is_dir():
        return f"weights {spec}: a folder, not a file"
    near = difflib.get_close_matches(spec, SPECS, 1)
    hint = f"did you mean {near[0]}?" if near else f"give a file or one of {', '.join(SPECS)}"
    return f"weights {spec}: no such file ({hint})"


def _from_file(path: Path) -> EncoderWeights:
    layers = read_layers(path)
    if any(name.startswith("encoder/") for name in layers):
        return EncoderWeights("file", path=path, whole=True)
    folded = len(layers.get(UNITS[0].conv, ())) == 2  # a bias, which MobileNetV2 itself lacks
    part = _unfolded if folded else _encoder_part
    return EncoderWeights("file", part(layers, f"weights {path}"), path=path)


def _encoder_part(layers: Layers, where: str) -> Layers:
    check_shapes(layers, SHAPES, where)
    return {name: layers[name] for name in SHAPES}


def _unfolded(layers: Layers, where: str) -> Layers:
    """Give every folded convolution its BatchNorm back."""
    check_shapes(layers, {unit.conv: (unit.kernel, (unit.channels,)) for unit in UNITS}, where)
    return {
        name: arrays for unit in UNITS for name, arrays in unit.folded(*layers[unit.conv]).items()
    }


def check_shapes(layers: Layers, wanted: Shapes, where: str) -> None:
    """Check ``layers`` name by name and shape by shape, in the order of ``wanted``.

    Raises:
        WeightsError: the first layer that is missing or has other shapes.
    """
    for name, shapes in wanted.items():
        if name not in layers:
            first = next(iter(layers), None)
            found = f"it begins with {first!r}" if first else "it holds no layer"
            raise WeightsError(f"{where}: {name} is missing (another model? {found})")
        there = [array.shape for array in layers[name]]
        if there != list(shapes):
            raise WeightsError(
                f"{where}: {name} has {_listed(there)}, but the model needs {_listed(shapes)}"
            )


def _listed(shapes: Sequence[tuple[int, ...]]) -> str:
    return " ".join("x".join(map(str, shape)) or "a number" for shape in shapes) or "no weights"


def load_model_weights(model: Any, path: Path) -> None:
    """Fill a whole model from a ``.weights.h5`` or ``.keras`` file of the same model.

    Everything is checked before anything is assigned: on an error the model is as it was.

    Raises:
        WeightsError: the file cannot be read, or a layer is missing, unknown or of another shape.
    """
    layers = read_layers(path)
    own = dict(_weighted(model, ""))
    shapes = {name: [tuple(v.shape) for v in variables] for name, variables in own.items()}
    check_shapes(layers, shapes, f"weights {path}")
    unknown = next((name for name in layers if name not in own), None)
    if unknown is not None:
        raise WeightsError(f"weights {path}: {unknown} is not in {model.name} (another model?)")
    for name, variables in own.items():
        for variable, value in zip(variables, layers[name], strict=True):
            variable.assign(value)


def _weighted(parent: Any, prefix: str) -> Iterator[tuple[str, list[Any]]]:
    """Layer path and variables of every layer below ``parent`` that has its own."""
    for layer in child_layers(parent):
        variables = own_weights(layer)
        if variables:
            yield f"{prefix}{layer.name}", variables
        yield from _weighted(layer, f"{prefix}{layer.name}/")
