"""mixed_float16 with a loss scale of 1, and gradients near 1e-7."""

from __future__ import annotations

import numpy as np

from saldiag.core.measurement import Measurements
from tests.support.measurements import (
    CALLS,
    STEPS,
    VARIABLES,
    dtype_row,
    dtypes,
    gradients,
    healthy,
    overfit,
    stuck,
    wiring,
)

HALF = dtypes(
    policy="mixed_float16",
    rows=(
        *(dtype_row(c.path, c.kind, "float16", c.parameters) for c in CALLS[1:-1]),
        dtype_row("output", "Activation", "float32"),
    ),
)
SHAPE = (STEPS, len(VARIABLES))


def _half(largest: float, zeros: float, scale: float) -> Measurements:
    history = gradients(
        maximum=np.full(SHAPE, largest),
        zero_share=np.full(SHAPE, zeros),
        loss_scale=np.full(STEPS, scale),
    )
    return healthy(wiring(precision="mixed_float16", loss_scaled=True), HALF, history)


def broken() -> Measurements:
    return _half(3e-7, 0.95, 1.0).with_(stuck())


def fixed() -> Measurements:
    return _half(3e-7, 0.0, 2.0**15).with_(overfit())
