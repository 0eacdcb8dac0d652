"""Ten relu layers whose initial weights are a hundred times too small."""

from __future__ import annotations

from saldiag.core.measurement import Measurements, OverfitHistory
from tests.support.measurements import (
    activation_row,
    activations,
    call,
    healthy,
    overfit,
    stuck,
    wiring,
)

LAYERS = [f"dense_{number}" for number in range(10)]


def _chain(factor: float, test: OverfitHistory) -> Measurements:
    calls = [
        call(name, "Dense", LAYERS[i - 1] if i else "", parameters=4160, activation="relu")
        for i, name in enumerate(LAYERS)
    ]
    rows = [
        activation_row(name, kind="Dense", activation="relu", mean=factor**i, std=factor**i)
        for i, name in enumerate(LAYERS)
    ]
    return healthy(wiring(*calls), activations(*rows), test)


def broken() -> Measurements:
    return _chain(0.01, stuck())


def fixed() -> Measurements:
    return _chain(0.7, overfit(stopped="interrupted"))
