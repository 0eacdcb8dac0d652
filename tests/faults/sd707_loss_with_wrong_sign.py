"""The negated mean squared error, which training drives to minus infinity."""

from __future__ import annotations

import numpy as np

from saldiag.core.measurement import Measurements
from tests.support.measurements import STEPS, healthy, loss_check, overfit


def _loss(sign: float) -> Measurements:
    start = 0.5 * sign
    course = start * np.exp((-sign) * 0.06 * np.arange(STEPS + 1))
    check = loss_check(
        loss="custom:loss",
        reported=start,
        recomputed=start,
        against_targets=start,
        at_targets=0.0,
        around_targets=(start / 16, start / 16),
        against_others=(1.2 * start, 1.5 * start),
    )
    return healthy(check, overfit(course))


def broken() -> Measurements:
    return _loss(-1.0)


def fixed() -> Measurements:
    return _loss(1.0)
