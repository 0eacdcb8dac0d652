"""ReLU on the output, under binary cross-entropy."""

from __future__ import annotations

from saldiag.core.measurement import Measurements
from tests.support.judging import head
from tests.support.measurements import CALLS, data, healthy, stuck, tensor

assert CALLS[-1].activation == "sigmoid"


def broken() -> Measurements:
    positive = data(predictions=(tensor("output", 0.0, 3.0),))
    return healthy(head("relu", loss="binary_crossentropy"), positive, stuck(2.0))


def fixed() -> Measurements:
    return healthy(head("sigmoid", loss="binary_crossentropy"))
