"""An optimizer that updates each replica's copy with its own gradient."""

from __future__ import annotations

from saldiag.core.measurement import Measurements, StateSpread
from tests.support.measurements import distribution, healthy


def broken() -> Measurements:
    return healthy(
        distribution(sums_in_optimizer=0, spread=(StateSpread("head/kernel", "weight", 0.3),))
    )


def fixed() -> Measurements:
    return healthy(distribution(spread=(StateSpread("head/kernel", "weight", 0.0),)))
