"""A rounding operation in the middle of the network."""

from __future__ import annotations

from saldiag.core.measurement import Measurements
from tests.support.measurements import (
    CALLS,
    VARIABLES,
    call,
    flow,
    flow_row,
    gradients,
    healthy,
    stuck,
    wiring,
)

NONE_UPSTREAM = {path: None if path.startswith("encoder") else 0.1 for path in VARIABLES}


def _calls(kind: str):
    head, output = CALLS[4:]
    from dataclasses import replace

    op = call(kind, "op", "encoder/relu", source=None)
    return (*CALLS[:4], op, replace(head, inputs=(kind,)), output)


def broken() -> Measurements:
    rows = (
        *(flow_row(c.path, c.kind, None, None) for c in CALLS[1:4]),
        flow_row("op:Round", "op", 0.4, None),
        *(flow_row(c.path, c.kind, 0.5, 0.4) for c in CALLS[4:]),
    )
    steps = {path: float("nan") if norm is None else norm for path, norm in NONE_UPSTREAM.items()}
    return healthy(
        wiring(*_calls("op:Round")), flow(NONE_UPSTREAM, rows=rows), gradients(steps), stuck()
    )


def fixed() -> Measurements:
    rows = (*flow().rows[:3], flow_row("op:Relu", "op", 0.4, 0.3), *flow().rows[3:])
    return healthy(wiring(*_calls("op:Relu")), flow(rows=rows))
