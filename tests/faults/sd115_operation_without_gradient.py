"""A comparison between encoder and head: only the head gets a gradient."""

from __future__ import annotations

import math

from saldiag.core.measurement import BlockedOperation, Measurements
from tests.support.measurements import (
    CALLS,
    VARIABLES,
    flow,
    flow_row,
    gradients,
    healthy,
    stuck,
    wiring,
)

BLOCKED = BlockedOperation("Greater", "", "head", ("encoder/conv", "encoder/norm"))


def broken() -> Measurements:
    norms = {path: None if path.startswith("encoder") else 0.1 for path in VARIABLES}
    rows = (
        *(flow_row(c.path, c.kind, None, None) for c in CALLS[1:4]),
        *(flow_row(c.path, c.kind, 0.5, 0.4) for c in CALLS[4:]),
    )
    steps = {path: math.nan if norm is None else norm for path, norm in norms.items()}
    return healthy(wiring(blocked=(BLOCKED,)), flow(norms, rows=rows), gradients(steps), stuck())


def fixed() -> Measurements:
    return healthy(wiring(blocked=()))
