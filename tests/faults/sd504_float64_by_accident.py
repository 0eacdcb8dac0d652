"""A head in float64 in a float32 model."""

from __future__ import annotations

from saldiag.core.measurement import Measurements
from tests.support.measurements import CALLS, dtype_row, dtypes, healthy


def _head(dtype: str) -> Measurements:
    rows = (
        *(dtype_row(c.path, c.kind, "float32", c.parameters) for c in CALLS[1:4]),
        dtype_row("head", "Conv2D", dtype, 145),
        dtype_row("output", "Activation", "float32"),
    )
    return healthy(dtypes(rows=rows))


def broken() -> Measurements:
    return _head("float64")


def fixed() -> Measurements:
    return _head("float32")
