"""Every fourth batch has a NaN gradient, whatever the loss scale."""

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
    wiring,
)

HALF = dtypes(
    policy="mixed_float16",
    rows=(
        *(dtype_row(c.path, c.kind, "float16", c.parameters) for c in CALLS[1:-1]),
        dtype_row("output", "Activation", "float32"),
    ),
)


def _with_bad_steps(bad: np.ndarray) -> Measurements:
    before = np.cumsum(bad) - bad
    nonfinite = np.outer(bad, np.ones(len(VARIABLES))) * 0.5
    history = gradients(loss_scale=2.0 ** (15 - before), nonfinite_share=nonfinite)
    return healthy(wiring(precision="mixed_float16", loss_scaled=True), HALF, history)


def broken() -> Measurements:
    return _with_bad_steps((np.arange(STEPS) % 4 == 0).astype(float))


def fixed() -> Measurements:
    return _with_bad_steps((np.arange(STEPS) < 4).astype(float))
