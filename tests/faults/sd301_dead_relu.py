"""A ReLU whose bias is so negative that every unit is dead."""

from __future__ import annotations

from saldiag.core.measurement import Measurements
from tests.support.measurements import (
    CALLS,
    VARIABLES,
    activations,
    flow,
    flow_row,
    gradients,
    healthy,
    rows_with,
    stuck,
)  # fmt: skip

DEAD = {"dead_share": 1.0, "zero_share": 1.0, "minimum": 0.0, "maximum": 0.0, "std": 0.0}


def broken() -> Measurements:
    starving = {path: 0.0 if path.startswith("encoder") else 0.1 for path in VARIABLES}
    rows = (
        *(flow_row(c.path, c.kind, 0.0, 0.0) for c in CALLS[1:3]),
        flow_row("encoder/relu", "ReLU", 0.4, 0.0),
        *(flow_row(c.path, c.kind, 0.5, 0.4) for c in CALLS[4:]),
    )
    return healthy(
        activations(*rows_with(activations().rows, "encoder/relu", sample_variation=0.0, **DEAD)),
        flow(starving, rows=rows),
        gradients(starving),
        stuck(prediction_variation=0.0),
    )


def fixed() -> Measurements:
    return healthy(
        activations(*rows_with(activations().rows, "encoder/relu", zero_share=0.5, dead_share=0.1))
    )
