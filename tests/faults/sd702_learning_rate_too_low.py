"""Adam with a learning rate of 1e-9."""

from __future__ import annotations

import numpy as np

from saldiag.core.measurement import Measurements
from tests.support.measurements import STEPS, VARIABLES, gradients, healthy, overfit, stuck, wiring


def _moving(ratio: float, loss: np.ndarray) -> Measurements:
    ratios = np.full((STEPS, len(VARIABLES)), ratio)
    return healthy(gradients(update_ratio=ratios, loss=loss), wiring(learning_rate=ratio / 10))


def broken() -> Measurements:
    return _moving(1e-8, np.full(STEPS, 0.5)).with_(stuck())


def fixed() -> Measurements:
    return _moving(1e-3, 0.5 * np.exp(-0.06 * np.arange(STEPS))).with_(overfit())
