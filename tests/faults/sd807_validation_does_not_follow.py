"""val_loss stays high, while the same items are predicted as well as training items."""

from __future__ import annotations

from faults.plain import course, healthy, validation
from saldiag.core.measurement import Measurements


def broken() -> Measurements:
    return healthy(course(None, [0.3] * 10), validation())


def fixed() -> Measurements:
    return healthy(course(), validation())
