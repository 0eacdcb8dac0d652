"""A layer that divides by zero."""

from __future__ import annotations

from faults.plain import activations, healthy, rows_with
from saldiag.core.measurement import Measurements


def broken() -> Measurements:
    rows = rows_with(activations().rows, "encoder/norm", nonfinite_share=0.25)
    return healthy(activations(*rows_with(rows, "encoder/relu", nonfinite_share=0.25)))


def fixed() -> Measurements:
    return healthy(activations())
