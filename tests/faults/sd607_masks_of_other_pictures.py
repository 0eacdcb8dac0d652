"""Masks in another order than their images."""

from __future__ import annotations

from saldiag.core.measurement import MaskPairing, Measurements
from tests.support.measurements import healthy, items


def broken() -> Measurements:
    return healthy(items(pairing=MaskPairing(64, 0.02, 0.86, 0.4)))


def fixed() -> Measurements:
    return healthy(items(pairing=MaskPairing(64, 0.88, 0.02, 0.4)))
