"""BatchNorm after the sigmoid, under binary cross-entropy."""

from __future__ import annotations

from dataclasses import replace

from saldiag.core.measurement import Measurements
from tests.support.measurements import CALLS, MASK, call, data, healthy, stuck, tensor, wiring

BEHIND = call("last", "BatchNormalization", "output", parameters=4, output_shapes=(MASK,))
BEFORE = call("last", "BatchNormalization", "head", parameters=4, output_shapes=(MASK,))
LOSS = "binary_crossentropy"


def broken() -> Measurements:
    spread = data(predictions=(tensor("last", -1.5, 1.5),))
    return healthy(wiring(*CALLS, BEHIND, loss=LOSS), spread, stuck(2.0))


def fixed() -> Measurements:
    return healthy(wiring(*CALLS[:-1], BEFORE, replace(CALLS[-1], inputs=("last",)), loss=LOSS))
