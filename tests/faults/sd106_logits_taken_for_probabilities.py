"""A linear output layer under binary cross-entropy of probabilities."""

from __future__ import annotations

from saldiag.core.measurement import Measurements
from tests.support.measurements import CALLS, data, healthy, stuck, tensor, wiring

LOGITS = data(predictions=(tensor("head", -4.0, 3.0),))


def broken() -> Measurements:
    return healthy(wiring(*CALLS[:-1], loss="binary_crossentropy"), LOGITS, stuck(1.9))


def fixed() -> Measurements:
    told = {"from_logits": True}
    return healthy(wiring(*CALLS[:-1], loss="binary_crossentropy", loss_config=told), LOGITS)
