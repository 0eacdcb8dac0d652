"""log(x + 1e-8) in a Lambda under mixed_float16."""

from __future__ import annotations

from dataclasses import replace

from saldiag.core.measurement import LostConstant, Measurements
from tests.support.measurements import CALLS, dtype_row, dtypes, healthy, wiring

HALF = dtypes(
    policy="mixed_float16",
    rows=(
        *(dtype_row(c.path, c.kind, "float16", c.parameters) for c in CALLS[1:-1]),
        dtype_row("output", "Activation", "float32"),
    ),
)


def broken() -> Measurements:
    lost = LostConstant("head", "head", "AddV2", "Log")
    return healthy(
        wiring(precision="mixed_float16", loss_scaled=True), replace(HALF, lost_constants=(lost,))
    )


def fixed() -> Measurements:
    return healthy(wiring(precision="mixed_float16", loss_scaled=True), HALF)
