"""Bytes centred in uint8 arithmetic: half of the values wrap around to 255."""

from __future__ import annotations

from faults.plain import dtypes, healthy
from saldiag.core.measurement import Measurements, WrappedIntegers


def broken() -> Measurements:
    return healthy(dtypes(wrapped=(WrappedIntegers("", "", "Sub", "uint8", 0.48),)))


def fixed() -> Measurements:
    return healthy(dtypes(wrapped=()))
