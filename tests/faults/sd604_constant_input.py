"""Images that are all black."""

from __future__ import annotations

from faults.plain import IMAGE, data, healthy, overfit, stuck, tensor
from saldiag.core.measurement import Measurements


def broken() -> Measurements:
    return healthy(data(inputs=(tensor("image", 0.0, 0.0, shape=IMAGE),)), stuck(0.25))


def fixed() -> Measurements:
    return healthy(data(inputs=(tensor("image", 0.0, 1.0, shape=IMAGE),)), overfit())
