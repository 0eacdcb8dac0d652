"""Features are pooled to 1x1, and the mask is made from that alone."""

from __future__ import annotations

from dataclasses import replace

from saldiag.core.measurement import LayerCall, Measurements
from tests.support.measurements import CALLS, FEATURES, call, healthy, wiring

ONE_PLACE = (None, 1, 1, 16)
POOLED = call("pool", "GlobalAveragePooling2D", "encoder/relu", output_shapes=(ONE_PLACE,))
UP = call("up", "UpSampling2D", "pool", input_shapes=(ONE_PLACE,))
BOTH = (None, 8, 8, 32)
IMAGE = (None, 8, 8, 3)


def _encoder() -> tuple[LayerCall, ...]:
    encoder, conv, *rest = CALLS[:4]
    return (encoder, replace(conv, input_shapes=(IMAGE,)), *rest)


def broken() -> Measurements:
    head = replace(CALLS[4], inputs=("up",))
    return healthy(wiring(*_encoder(), POOLED, UP, head, CALLS[5]))


def fixed() -> Measurements:
    """The same with a skip connection around the pooling."""
    skip = call(
        "skip", "Concatenate", "up", "encoder/relu",
        input_shapes=(FEATURES, FEATURES), output_shapes=(BOTH,),
    )  # fmt: skip
    head = replace(CALLS[4], inputs=("skip",), input_shapes=(BOTH,))
    return healthy(wiring(*_encoder(), POOLED, UP, skip, head, CALLS[5]))
