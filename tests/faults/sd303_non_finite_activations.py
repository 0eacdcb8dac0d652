"""A layer that divides by zero."""

from __future__ import annotations

from saldiag.core.measurement import Measurements
from tests.support.measurements import activations, healthy, rows_with


def broken() -> Measurements:
    rows = rows_with(activations().rows, "encoder/norm", nonfinite_share=0.25)
    return healthy(activations(*rows_with(rows, "encoder/relu", nonfinite_share=0.25)))


def fixed() -> Measurements:
    return healthy(activations())
