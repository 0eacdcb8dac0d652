"""A list of kernel sizes indexed with a constant."""

from __future__ import annotations

from saldiag.core.measurement import Measurements
from tests.support.measurements import CALLS, call, healthy, wiring


def _calls(*sizes: int):
    branches = [
        part
        for number, size in enumerate(sizes)
        for part in (
            call(f"branch_{number}", "DepthwiseConv2D", "encoder/relu", parameters=16 * size**2,
                 config={"kernel_size": [size, size], "strides": [1, 1], "dilation_rate": [1, 1]}),
            call(f"norm_{number}", "BatchNormalization", f"branch_{number}", parameters=64),
        )
    ]  # fmt: skip
    joined = ["encoder/relu", *(f"norm_{number}" for number in range(len(sizes)))]
    return (
        *CALLS[:4], *branches, call("concatenate", "Concatenate", *joined),
        call("head", "Conv2D", "concatenate", parameters=145),
        call("output", "Activation", "head", activation="sigmoid"),
    )  # fmt: skip


def broken() -> Measurements:
    return healthy(wiring(*_calls(1, 1, 1)))


def fixed() -> Measurements:
    return healthy(wiring(*_calls(1, 3, 5)))
