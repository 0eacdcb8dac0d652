"""A dataset that repeats without end, and no steps_per_epoch."""

from __future__ import annotations

from faults.plain import healthy, items
from saldiag.core.measurement import Measurements


def broken() -> Measurements:
    return healthy(items(source="dataset", reordered=False, batches=None, endless=True))


def fixed() -> Measurements:
    return healthy(items(source="dataset", reordered=False, batches=50, endless=False))
