"""Origins of an encoder's weights, and how the network they were trained in differs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from saldiag.core.identity import WeakIdentityMap
from saldiag.core.measurement import Origin
from saldiag.quicksal.blocks.encoder import PlacedConvolution
from saldiag.quicksal.blocks.mobilenet_v2 import EPSILON, NETWORK

_origins_by_model: WeakIdentityMap[tuple[Origin, ...]] = WeakIdentityMap()


def weight_origins(model: Any) -> tuple[Origin, ...]:
    """Origin of every encoder layer that has weights, in the order of the network.

    Empty for a model that this package did not build, such as one loaded from a file.
    """
    return _origins_by_model.get(model) or ()


def note_origins(model: Any, placed: Iterable[PlacedConvolution], copied: bool) -> None:
    """Record the origins of a model's weights.

    Args:
        model: the whole model.
        placed: the encoder's convolutions.
        copied: whether pretrained weights were available to copy.
    """
    rows = (row for place in placed for row in _origin_rows(place, copied and place.copies))
    _origins_by_model[model] = tuple(rows)


def _origin_rows(place: PlacedConvolution, copied: bool) -> tuple[Origin, Origin]:
    conv = {
        "strides": place.conv.strides[0],
        "kernel_size": place.conv.kernel_size[0],
        "activation": place.activation,
    }
    norm = {"epsilon": place.norm.epsilon}
    if place.unit is None:
        return (
            Origin(place.conv_path, NETWORK, None, False, conv),
            Origin(place.norm_path, NETWORK, None, False, norm),
        )
    unit = place.unit
    there = {
        "strides": unit.strides,
        "kernel_size": unit.kernel[0],
        "activation": unit.activation,
    }
    return (
        Origin(place.conv_path, NETWORK, unit.conv, copied, conv, there),
        Origin(place.norm_path, NETWORK, unit.norm, copied, norm, {"epsilon": EPSILON}),
    )
