"""A second output layer without a loss."""

from __future__ import annotations

from dataclasses import replace

from saldiag.core.measurement import IgnoredOutput, Measurements
from tests.support.measurements import (
    CALLS,
    VARIABLES,
    call,
    flow,
    healthy,
    trainable,
    trainable_row,
    wiring,
)

CALLED = (*CALLS, call("edges", "Conv2D", "encoder/relu", parameters=145))
OUTPUTS = ("output", "edges")


def _measured(norm: float | None) -> Measurements:
    ignored = (IgnoredOutput("edges", ("edges",)),) if norm is None else ()
    rows = tuple(trainable_row(path) for path in VARIABLES)
    row = trainable_row("edges/kernel", has_gradient=norm is not None, changed=norm is not None)
    norms = {**dict.fromkeys(VARIABLES, 0.1), "edges/kernel": norm}
    return healthy(
        replace(wiring(*CALLED, outputs=OUTPUTS), ignored=ignored),
        flow(norms),
        trainable(*rows, row),
    )


def broken() -> Measurements:
    return _measured(None)


def fixed() -> Measurements:
    return _measured(0.1)
