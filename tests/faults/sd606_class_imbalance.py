"""Masks with 0.5 % of the pixels set."""

from __future__ import annotations

from saldiag.core.measurement import Measurements
from tests.support.measurements import data, healthy, tensor


def _masks_with_share(share: float) -> Measurements:
    return healthy(data(targets=(tensor("mask", 0.0, 1.0, distinct=2, mean=share),)))


def broken() -> Measurements:
    return _masks_with_share(0.005)


def fixed() -> Measurements:
    return _masks_with_share(0.2)
