"""BatchNorm's moving averages after 60 steps at momentum 0.99."""

from __future__ import annotations

import numpy as np

from faults.plain import healthy, overfit
from saldiag.core.measurement import Measurements

TRAINING = np.array([0.52, 0.063, 0.017, 0.010])


def _history(inference: float):
    lagging = np.array([0.52, 0.4, 0.3, inference])
    return overfit(checked=np.array([0, 20, 40, 60]), training_error=TRAINING,
                   inference_error=lagging, recalibrated_error=0.012)  # fmt: skip


def broken() -> Measurements:
    return healthy(_history(0.156))


def fixed() -> Measurements:
    return healthy(_history(0.014))
