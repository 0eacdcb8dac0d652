"""A dataset that repeats without end, and no steps_per_epoch."""

from __future__ import annotations

from saldiag.core.measurement import Measurements
from tests.support.measurements import healthy, items


def broken() -> Measurements:
    return healthy(items(source="dataset", reordered=False, batches=None, endless=True))


def fixed() -> Measurements:
    return healthy(items(source="dataset", reordered=False, batches=50, endless=False))
