"""Early stopping in mode max on the validation loss."""

from __future__ import annotations

from saldiag.core.measurement import Measurements
from tests.support.measurements import healthy, plan, stopping


def broken() -> Measurements:
    return healthy(plan(stopping(mode="max", direction="max")))


def fixed() -> Measurements:
    return healthy(plan(stopping(mode="min")))
