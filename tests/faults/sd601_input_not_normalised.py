"""Images in 0 … 255 for an encoder that was trained on -1 … 1."""

from __future__ import annotations

from saldiag.core.measurement import Measurements
from tests.support.measurements import data, healthy, tensor


def broken() -> Measurements:
    return healthy(data(inputs=(tensor("image", 0.0, 255.0),), expected_range=(-1.0, 1.0)))


def fixed() -> Measurements:
    return healthy(data(inputs=(tensor("image", -1.0, 1.0),), expected_range=(-1.0, 1.0)))
