"""Two classes, one after the other, without a shuffle."""

from __future__ import annotations

from saldiag.core.measurement import Measurements
from tests.support.measurements import healthy, items, wiring


def _ordered(changes: float) -> Measurements:
    crossed = wiring(loss="binary_crossentropy")
    facts = items(
        source="dataset", reordered=False, classes=2, changes=changes, expected_changes=300.0
    )
    return healthy(crossed, facts)


def broken() -> Measurements:
    return _ordered(3.0)


def fixed() -> Measurements:
    return _ordered(295.0)
