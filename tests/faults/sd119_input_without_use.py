"""A functional model with an input that no output depends on."""

from __future__ import annotations

from saldiag.core.measurement import Measurements
from tests.support.measurements import CALLS, healthy, wiring


def broken() -> Measurements:
    return healthy(wiring(*CALLS, unused=("depth",), declared=True))


def fixed() -> Measurements:
    return healthy(wiring(*CALLS, declared=True))
