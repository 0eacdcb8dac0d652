"""The loss stays constant for the whole test, and nothing else is wrong."""

from __future__ import annotations

from saldiag.core.measurement import Measurements
from tests.support.measurements import healthy, overfit, stuck


def broken() -> Measurements:
    return healthy(stuck())


def fixed() -> Measurements:
    return healthy(overfit())
