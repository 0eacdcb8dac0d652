"""A hidden tanh layer whose initial weights are ten times too large."""

from __future__ import annotations

from saldiag.core.measurement import Measurements, OverfitHistory
from tests.support.measurements import (
    activations,
    calls_with,
    healthy,
    overfit,
    rows_with,
    stuck,
    wiring,
)


def _tanh(saturated: float, test: OverfitHistory) -> Measurements:
    calls = calls_with("encoder/relu", kind="Activation", activation="tanh")
    rows = rows_with(
        activations().rows,
        "encoder/relu",
        kind="Activation",
        activation="tanh",
        minimum=-1.0,
        maximum=1.0,
        saturated_share=saturated,
    )
    return healthy(wiring(*calls), activations(*rows), test)


def broken() -> Measurements:
    return _tanh(0.98, stuck())


def fixed() -> Measurements:
    return _tanh(0.05, overfit())
