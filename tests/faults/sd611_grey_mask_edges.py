"""Masks resized with interpolation."""

from __future__ import annotations

from saldiag.core.measurement import MaskGreys, Measurements
from tests.support.measurements import healthy, items


def broken() -> Measurements:
    return healthy(items(greys=MaskGreys(64, 0.024, 0.97, 0.24)))


def fixed() -> Measurements:
    return healthy(items(greys=MaskGreys(64, 0.0, float("nan"), float("nan"))))
