"""Accuracy in a regression: 0 at every step, while the error falls."""

from __future__ import annotations

import numpy as np

from saldiag.core.measurement import Measurements
from tests.support.measurements import STEPS, healthy, overfit


def _metric(name: str, values: np.ndarray) -> Measurements:
    return healthy(overfit(metric_names=(name,), metric_values=values[:, None]))


def broken() -> Measurements:
    return _metric("accuracy", np.zeros(STEPS))


def fixed() -> Measurements:
    return _metric("accuracy", np.linspace(0.4, 1.0, STEPS))
