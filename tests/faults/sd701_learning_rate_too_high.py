"""SGD with a learning rate of 10: the loss jumps and stays above its first value."""

from __future__ import annotations

import numpy as np

from saldiag.core.measurement import Measurements
from tests.support.measurements import STEPS, VARIABLES, gradients, healthy, overfit, stuck, wiring

JUMPING = np.concatenate([[0.5, 4.0, 9.0], np.full(STEPS - 3, 0.6)])


def broken() -> Measurements:
    ratios = np.full((STEPS, len(VARIABLES)), 2.0)
    test = stuck(0.6)
    return healthy(
        gradients(update_ratio=ratios, loss=JUMPING),
        wiring(optimizer="SGD", learning_rate=10.0),
        stuck(0.6, loss=np.concatenate([JUMPING[:3], test.loss[3:]])),
    )


def fixed() -> Measurements:
    """A large first step does no harm if the loss falls."""
    ratios = np.full((STEPS, len(VARIABLES)), 0.4)
    return healthy(
        gradients(update_ratio=ratios), wiring(optimizer="SGD", learning_rate=0.1), overfit()
    )
