"""A logarithm of zero in the loss: NaN from the fifth step on."""

from __future__ import annotations

import numpy as np

from saldiag.core.measurement import Measurements
from tests.support.measurements import STEPS, VARIABLES, gradients, healthy, overfit


def _history(bad_steps: slice, scale: float):
    share = np.zeros((STEPS, len(VARIABLES)))
    share[bad_steps] = 1.0
    return gradients(nonfinite_share=share, loss_scale=np.full(STEPS, scale))


def broken() -> Measurements:
    errors = np.array([0.5, np.nan])
    test = overfit([0.5, 0.5, np.nan], checked=np.array([0, 2]), training_error=errors,
                   inference_error=errors, stopped="non-finite")  # fmt: skip
    return healthy(_history(slice(4, None), 1.0), test)


def fixed() -> Measurements:
    """Under loss scaling the first steps overflow until the scale settles."""
    return healthy(_history(slice(0, 4), 2.0**11))
