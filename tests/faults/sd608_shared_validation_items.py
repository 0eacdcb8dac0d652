"""A fifth of the validation samples are training samples."""

from __future__ import annotations

from saldiag.core.measurement import Measurements
from tests.support.measurements import healthy, items


def broken() -> Measurements:
    return healthy(items(shared=20))


def fixed() -> Measurements:
    return healthy(items(shared=0))
