"""BatchNorm's moving statistics after 60 steps at momentum 0.99."""

from __future__ import annotations

import numpy as np

from saldiag.core.measurement import Measurements, StatisticsRow
from tests.support.measurements import course, healthy, overfit, validation

TRAINING = np.array([0.52, 0.063, 0.017, 0.010])


def _history(inference: float):
    lagging = np.array([0.52, 0.4, 0.3, inference])
    return overfit(checked=np.array([0, 20, 40, 60]), training_error=TRAINING,
                   inference_error=lagging, recalibrated_error=0.012)  # fmt: skip


def broken() -> Measurements:
    return healthy(_history(0.156))


def fixed() -> Measurements:
    return healthy(_history(0.014))


LAGGING = StatisticsRow("encoder/norm", 0.99, 28.0, 1.1, 27.0)


def broken_in_training() -> Measurements:
    return healthy(course(None, [0.3] * 10), validation(0.3, 0.04, statistics=(LAGGING,)))
