"""Bytes centred in uint8 arithmetic: half of the values wrap around to 255."""

from __future__ import annotations

from saldiag.core.measurement import Measurements, WrappedIntegers
from tests.support.measurements import dtypes, healthy


def broken() -> Measurements:
    return healthy(dtypes(wrapped=(WrappedIntegers("", "", "Sub", "uint8", 0.48),)))


def fixed() -> Measurements:
    return healthy(dtypes(wrapped=()))
