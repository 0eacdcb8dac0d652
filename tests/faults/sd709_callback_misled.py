"""Early stopping that takes a rising validation loss for better."""

from __future__ import annotations

from faults.plain import healthy, plan, stopping
from saldiag.core.measurement import Measurements


def broken() -> Measurements:
    return healthy(plan(stopping(mode="max", direction="max")))


def fixed() -> Measurements:
    return healthy(plan(stopping(mode="min")))
