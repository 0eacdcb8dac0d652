"""Twelve layers with an initializer of ten times the right scale."""

from __future__ import annotations

import numpy as np

from saldiag.core.measurement import GradientFlow, Measurements
from tests.support.measurements import (
    call,
    flow,
    flow_row,
    gradients,
    healthy,
    overfit,
    stuck,
    wiring,
)

DEPTH = 12
PARTLY = np.linspace(0.5, 0.1, 7)  # an inconclusive verdict: it does not show that the model learns
LAYERS = [f"dense_{number}" for number in range(DEPTH)]


def _chain():
    return [
        call(name, "Dense", LAYERS[i - 1] if i else "", parameters=4160, activation="tanh")
        for i, name in enumerate(LAYERS)
    ]


def _norms(factor: float) -> dict[str, float]:
    return {f"{name}/kernel": 0.1 * factor ** (DEPTH - 1 - i) for i, name in enumerate(LAYERS)}


def _flow(factor: float) -> GradientFlow:
    norms = _norms(factor)
    rows = tuple(
        flow_row(name, "Dense", norm, norm)
        for name, norm in zip(LAYERS, norms.values(), strict=True)
    )
    return flow(norms, rows=rows)


def broken() -> Measurements:
    return healthy(wiring(*_chain()), _flow(8.0), gradients(_norms(8.0)), stuck())


def fixed() -> Measurements:
    return healthy(
        wiring(*_chain()),
        _flow(1.2),
        gradients(_norms(1.2)),
        overfit(stopped="interrupted", training_error=PARTLY),
    )
