"""Three outputs under MSE, and one class number as the target; the twin has one-hot targets."""

from __future__ import annotations

from saldiag.core.measurement import Measurements
from tests.support.measurements import data, healthy, stuck, tensor, wiring

PREDICTED = tensor("output", 0.1, 0.8, shape=(None, 3))


def _measured(*others, **target) -> Measurements:
    targets = (tensor("class", 0.0, target.pop("high"), **target),)
    mse = wiring(loss="mean_squared_error")
    return healthy(mse, data(targets=targets, predictions=(PREDICTED,)), *others)


def broken() -> Measurements:
    return _measured(stuck(1.1, baseline_independent=0.67), high=1.0, shape=(None, 1), distinct=3)


def fixed() -> Measurements:
    return _measured(high=1.0, shape=(None, 3), distinct=2)
