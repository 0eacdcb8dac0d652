"""Validation images in 0 … 255, training images in 0 … 1."""

from __future__ import annotations

import numpy as np

from saldiag.core.measurement import Correction, InputComparison, Measurements
from tests.support.measurements import course, healthy, validation

HELD = np.full(10, 0.4)
BYTES = InputComparison(
    "", (8, 8, 3), (8, 8, 3), (0.5,) * 3, (0.25,) * 3, (127.0,) * 3, (64.0,) * 3
)


def broken() -> Measurements:
    changes = (Correction("inputs", "x / 255", 0.04), Correction("inputs", "2 * x - 1", 0.5))
    check = validation(0.4, 0.4, inputs=(BYTES,), corrections=changes)
    return healthy(course(None, HELD), check)


def fixed() -> Measurements:
    return healthy(course(), validation())
