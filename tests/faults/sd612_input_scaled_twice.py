"""Images in 0 … 1 for a model whose first layer divides by 255."""

from __future__ import annotations

from dataclasses import replace

from saldiag.core.measurement import Measurements
from tests.support.measurements import (
    CALLS,
    activation_row,
    activations,
    call,
    data,
    healthy,
    tensor,
    wiring,
)

IMAGE = (None, 8, 8, 3)
RESCALING = call("encoder/scale", "Rescaling", "", config={"scale": 1 / 255.0, "offset": 0.0})


def _images_up_to(high: float) -> Measurements:
    first = replace(CALLS[1], inputs=("encoder/scale",))
    calls = (CALLS[0], RESCALING, first, *CALLS[2:])
    scaled = activation_row(
        "encoder/scale", kind="Rescaling", minimum=0.0, maximum=high / 255, std=high / 900
    )
    rows = (scaled, *activations().rows)
    facts = data(inputs=(tensor("image", 0.0, high, shape=IMAGE),))
    return healthy(wiring(*calls), facts, activations(*rows))


def broken() -> Measurements:
    return _images_up_to(1.0)


def fixed() -> Measurements:
    return _images_up_to(255.0)
