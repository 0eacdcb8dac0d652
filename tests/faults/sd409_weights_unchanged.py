"""A custom training step that does not apply the gradients."""

from __future__ import annotations

import numpy as np

from saldiag.core.measurement import GradientHistory, Measurements
from tests.support.measurements import STEPS, healthy, overfit, wiring


def _trained(level: float, moved: float) -> Measurements:
    own = wiring(own_training=True)
    errors = 0.5 * np.exp(-level * np.arange(STEPS + 1))
    test = overfit(errors, moved_share=moved, stopped="steps")
    return healthy(own, test).without(GradientHistory, "no step was recorded")


def broken() -> Measurements:
    return _trained(0.0, 0.0)


def fixed() -> Measurements:
    return _trained(0.06, 1.0)
