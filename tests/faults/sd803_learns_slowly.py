"""A learning rate of 1e-6: the error falls steadily, and the test ends half-way."""

from __future__ import annotations

import numpy as np

from saldiag.core.measurement import Measurements
from tests.support.measurements import STEPS, VARIABLES, gradients, healthy, overfit, wiring


def _measured(errors: np.ndarray, ratio: float, **test: object) -> Measurements:  # type: ignore[type-arg]
    steps = gradients(update_ratio=np.full((STEPS, len(VARIABLES)), ratio))
    return healthy(steps, overfit(errors, **test), wiring(learning_rate=1e-6))


def broken() -> Measurements:
    return _measured(np.linspace(0.25, 0.2, STEPS + 1), 2e-6, stopped="steps", max_steps=STEPS)


def fixed() -> Measurements:
    return _measured(0.5 * np.exp(-0.06 * np.arange(STEPS + 1)), 2e-3)
