"""A fifth of the validation items are training items."""

from __future__ import annotations

from faults.plain import healthy, items
from saldiag.core.measurement import Measurements


def broken() -> Measurements:
    return healthy(items(shared=20))


def fixed() -> Measurements:
    return healthy(items(shared=0))
