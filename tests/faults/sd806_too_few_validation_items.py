"""Four validation samples whose errors vary more than val_loss deviates from the loss."""

from __future__ import annotations

import numpy as np

from saldiag.core.measurement import Measurements
from tests.support.measurements import course, healthy, validation

HELD = [0.3, 0.2, 0.25, 0.18, 0.24, 0.2, 0.22, 0.19, 0.23, 0.21]


def _check(**fields):
    errors = np.array([0.01, 0.02, 0.6, 0.21])
    return validation(
        0.21, 0.21, items=4, item_errors=errors, reestimated_item_errors=errors, **fields
    )


def broken() -> Measurements:
    return healthy(course(None, HELD), _check())


def fixed() -> Measurements:
    return healthy(course(), validation())
