"""Masks in another order than their images."""

from __future__ import annotations

from faults.plain import healthy, items
from saldiag.core.measurement import MaskPairing, Measurements


def broken() -> Measurements:
    return healthy(items(pairing=MaskPairing(64, 0.02, 0.86, 0.4)))


def fixed() -> Measurements:
    return healthy(items(pairing=MaskPairing(64, 0.88, 0.02, 0.4)))
