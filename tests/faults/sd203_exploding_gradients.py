"""Twelve layers with an initializer ten times too wide."""

from __future__ import annotations

from faults.plain import call, gradients, healthy, stuck, wiring
from saldiag.core.measurement import Measurements

DEPTH = 12
LAYERS = [f"dense_{number}" for number in range(DEPTH)]


def _chain():
    return [
        call(
            name, "Dense", LAYERS[i - 1] if i else "", parameters=4160, activation="tanh"
        )
        for i, name in enumerate(LAYERS)
    ]


def _norms(factor: float) -> dict[str, float]:
    return {f"{name}/kernel": 0.1 * factor ** (DEPTH - 1 - i) for i, name in enumerate(LAYERS)}


def broken() -> Measurements:
    return healthy(wiring(*_chain()), gradients(_norms(8.0)), stuck())


def fixed() -> Measurements:
    return healthy(wiring(*_chain()), gradients(_norms(1.2)))
