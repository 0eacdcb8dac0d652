"""mixed_float16 in a custom training loop, with Adam and no loss scaling."""

from __future__ import annotations

from saldiag.core.measurement import Measurements
from tests.support.measurements import CALLS, dtype_row, dtypes, healthy, wiring

HALF = dtypes(
    policy="mixed_float16",
    rows=(
        *(dtype_row(c.path, c.kind, "float16", c.parameters) for c in CALLS[1:-1]),
        dtype_row("output", "Activation", "float32"),
    ),
)


def broken() -> Measurements:
    return healthy(wiring(precision="mixed_float16", loss_scaled=False), HALF)


def fixed() -> Measurements:
    return healthy(wiring(precision="mixed_float16", loss_scaled=True), HALF)
