"""A loss weight of 1000 under Adam. Not the root cause.

The model is stuck (SD801) for another reason, and the factor has no effect.
"""

from __future__ import annotations

from saldiag.core.measurement import Measurements
from tests.support.measurements import healthy, overfit, stuck, wiring

ROOT = False


def broken() -> Measurements:
    return healthy(wiring(loss_weights=(1000.0,)), stuck())


def fixed() -> Measurements:
    return healthy(wiring(loss_weights=(1.0,)), overfit())
