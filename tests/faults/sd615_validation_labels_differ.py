"""Validation masks are inverted."""

from __future__ import annotations

import numpy as np

from saldiag.core.measurement import Correction, Measurements
from tests.support.measurements import course, healthy, validation


def broken() -> Measurements:
    changes = (Correction("targets", "1 - y", 0.04), Correction("targets", "y[::-1]", 0.5))
    return healthy(course(None, np.full(10, 0.9)), validation(0.9, 0.9, corrections=changes))


def fixed() -> Measurements:
    return healthy(course(), validation())
