"""Masks of 0 and 255 for a sigmoid."""

from __future__ import annotations

from saldiag.core.measurement import Measurements
from tests.support.measurements import data, healthy, stuck, tensor


def broken() -> Measurements:
    return healthy(data(targets=(tensor("mask", 0.0, 255.0),)), stuck(100, baseline_independent=40))


def fixed() -> Measurements:
    return healthy(data(targets=(tensor("mask", 0.0, 1.0),)))
