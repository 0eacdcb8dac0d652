"""Dropout with training=True, and a val_loss that stays far above the loss."""

from __future__ import annotations

import numpy as np

from saldiag.core.measurement import Measurements
from tests.support.measurements import course, healthy, validation

LOSS = 0.3 * np.exp(-0.25 * np.arange(10))
HELD = np.full(10, 0.3)


def broken() -> Measurements:
    check = validation(0.04, repeat_difference=0.3, active=("encoder/norm",))
    return healthy(course(LOSS, HELD), check)


def fixed() -> Measurements:
    return healthy(course(LOSS), validation())
