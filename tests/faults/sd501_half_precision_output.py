"""A sigmoid output under mixed_bfloat16 without dtype="float32"."""

from __future__ import annotations

from saldiag.core.measurement import Measurements
from tests.support.measurements import CALLS, dtype_row, dtypes, healthy, wiring


def _trace(head: str):
    rows = [dtype_row(c.path, c.kind, "bfloat16", c.parameters) for c in CALLS[1:-1]]
    last = dtype_row("output", "Activation", head)
    return dtypes(policy="mixed_bfloat16", rows=(*rows, last), output_dtypes=(head,))


def broken() -> Measurements:
    return healthy(wiring(precision="mixed_bfloat16"), _trace("bfloat16"))


def fixed() -> Measurements:
    return healthy(wiring(precision="mixed_bfloat16"), _trace("float32"))
