"""Masks in which half a per cent of the pixels are set."""

from __future__ import annotations

from faults.plain import data, healthy, tensor
from saldiag.core.measurement import Measurements


def _set(share: float) -> Measurements:
    return healthy(data(targets=(tensor("mask", 0.0, 1.0, distinct=2, mean=share),)))


def broken() -> Measurements:
    return _set(0.005)


def fixed() -> Measurements:
    return _set(0.2)
