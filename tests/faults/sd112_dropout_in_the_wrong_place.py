"""Half of the predicted mask is dropped; the twin drops half of the features before the head."""

from __future__ import annotations

from dataclasses import replace

from saldiag.core.measurement import Measurements
from tests.support.measurements import CALLS, MASK, call, healthy, stuck, wiring

BEHIND = call("drop", "Dropout", "output", config={"rate": 0.5}, output_shapes=(MASK,))
BEFORE = call("drop", "Dropout", "encoder/relu", config={"rate": 0.5})


def broken() -> Measurements:
    return healthy(wiring(*CALLS, BEHIND), stuck(0.5))


def fixed() -> Measurements:
    *encoder, head, output = CALLS
    return healthy(wiring(*encoder, BEFORE, replace(head, inputs=("drop",)), output))
