"""Images that are all black."""

from __future__ import annotations

from saldiag.core.measurement import Measurements
from tests.support.measurements import IMAGE, data, healthy, overfit, stuck, tensor


def broken() -> Measurements:
    return healthy(data(inputs=(tensor("image", 0.0, 0.0, shape=IMAGE),)), stuck(0.25))


def fixed() -> Measurements:
    return healthy(data(inputs=(tensor("image", 0.0, 1.0, shape=IMAGE),)), overfit())
