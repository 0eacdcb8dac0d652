"""Two convolutions and BatchNorm without an activation; the twin has a ReLU between them."""

from __future__ import annotations

from saldiag.core.measurement import Measurements
from tests.support.measurements import CALLS, IMAGE, call, healthy, stuck, wiring


def _calls(activation: str | None):
    encoder, _, norm, _, head, output = CALLS
    first = call("encoder/conv", "Conv2D", "", parameters=432, input_shapes=(IMAGE,))
    between = call("encoder/relu", "Activation", "encoder/norm", activation=activation)
    return encoder, first, norm, between, head, output


def broken() -> Measurements:
    return healthy(wiring(*_calls(None), operations=("Identity",)), stuck(0.24))


def fixed() -> Measurements:
    return healthy(wiring(*_calls("relu"), operations=("Identity",)))
