"""val_loss is lowest in epoch 3 and then rises; the training samples are memorised."""

from __future__ import annotations

from saldiag.core.measurement import Measurements
from tests.support.measurements import course, healthy, validation

HELD = [0.3, 0.22, 0.2, 0.2, 0.21, 0.22, 0.23, 0.24, 0.25, 0.26]


def broken() -> Measurements:
    return healthy(course(None, HELD), validation(0.26, 0.26, 0.01))


def fixed() -> Measurements:
    return healthy(course(), validation())
