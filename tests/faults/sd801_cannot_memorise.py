"""The loss stays constant for the whole test, and nothing else is wrong."""

from __future__ import annotations

from faults.plain import healthy, overfit, stuck
from saldiag.core.measurement import Measurements


def broken() -> Measurements:
    return healthy(stuck())


def fixed() -> Measurements:
    return healthy(overfit())
