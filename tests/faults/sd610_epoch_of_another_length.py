"""A data set that repeats without end, for epochs of no given length."""

from __future__ import annotations

from faults.plain import healthy, items
from saldiag.core.measurement import Measurements


def broken() -> Measurements:
    return healthy(items(source="dataset", reordered=False, batches=None, endless=True))


def fixed() -> Measurements:
    return healthy(items(source="dataset", reordered=False, batches=50, endless=False))
