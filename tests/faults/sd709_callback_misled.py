"""Early stopping in mode max on the validation loss."""

from __future__ import annotations

from faults.plain import healthy, plan, stopping
from saldiag.core.measurement import Measurements


def broken() -> Measurements:
    return healthy(plan(stopping(mode="max", direction="max")))


def fixed() -> Measurements:
    return healthy(plan(stopping(mode="min")))
