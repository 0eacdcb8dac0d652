"""val_loss stays high, while the same items are predicted as well as training samples."""

from __future__ import annotations

from saldiag.core.measurement import Measurements
from tests.support.measurements import course, healthy, validation


def broken() -> Measurements:
    return healthy(course(None, [0.3] * 10), validation())


def fixed() -> Measurements:
    return healthy(course(), validation())
