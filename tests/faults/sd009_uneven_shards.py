"""The last batch leaves a replica without items, and its mean is NaN."""

from __future__ import annotations

import numpy as np

from saldiag.core.measurement import Measurements
from tests.support.measurements import distribution, healthy


def broken() -> Measurements:
    return healthy(
        distribution(
            fewest_items=np.array([3.0, 0.0]),
            empty_steps=np.array([0.0, 3.0]),
            empty_nonfinite=np.array([0.0, 3.0]),
        )
    )


def fixed() -> Measurements:
    return healthy(
        distribution(fewest_items=np.array([3.0, 0.0]), empty_steps=np.array([0.0, 3.0]))
    )
