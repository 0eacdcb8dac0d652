"""Sigmoid of sigmoid: the predictions stay between 0.5 and 0.73."""

from __future__ import annotations

from saldiag.core.measurement import Measurements
from tests.support.measurements import CALLS, MASK, call, data, healthy, stuck, tensor, wiring

SECOND = call("again", "Activation", "output", activation="sigmoid", output_shapes=(MASK,))
RESHAPE = call("again", "Reshape", "output", output_shapes=(MASK,))


def broken() -> Measurements:
    return healthy(
        wiring(*CALLS, SECOND), data(predictions=(tensor("again", 0.5, 0.73),)), stuck(0.4)
    )


def fixed() -> Measurements:
    return healthy(wiring(*CALLS, RESHAPE))
