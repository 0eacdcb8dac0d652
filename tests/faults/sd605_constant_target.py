"""Masks that are all empty."""

from __future__ import annotations

from saldiag.core.measurement import Baselines, Measurements
from tests.support.measurements import data, healthy, overfit, tensor

ZERO_BASELINES = Baselines("mean_absolute_error", 0.0, 0.0, 0.0, "median")


def broken() -> Measurements:
    targets = (tensor("mask", 0.0, 0.0),)
    test = overfit(stopped="steps", baseline_constant=0.0, baseline_independent=0.0)
    return healthy(data(targets=targets, baselines=ZERO_BASELINES), test)


def fixed() -> Measurements:
    return healthy(data(targets=(tensor("mask", 0.0, 1.0, distinct=2),)), overfit())
