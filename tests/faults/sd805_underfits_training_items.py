"""Loss and val_loss stay at the error of the best fixed prediction."""

from __future__ import annotations

from saldiag.core.measurement import Measurements
from tests.support.measurements import course, healthy, validation

FLAT = [0.256, 0.25, 0.252, 0.249, 0.251, 0.25, 0.252, 0.25, 0.249, 0.251]


def broken() -> Measurements:
    return healthy(course(FLAT, FLAT), validation(0.25, 0.25, 0.25))


def fixed() -> Measurements:
    return healthy(course(), validation())
