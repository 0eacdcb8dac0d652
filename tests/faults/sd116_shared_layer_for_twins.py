"""One convolution is called twice on the same features, and both outputs are concatenated."""

from __future__ import annotations

from dataclasses import replace

from saldiag.core.measurement import Measurements
from tests.support.measurements import CALLS, call, healthy, wiring

WIDE = (None, 8, 8, 32)


def _measured(*, second: str, repeats: str | None) -> Measurements:
    one = call("branch", "Conv2D", "encoder/relu", parameters=2320)
    two = call(second, "Conv2D", "encoder/relu", parameters=2320, repeats=repeats)
    both = call("both", "Concatenate", "branch", second, output_shapes=(WIDE,))
    head = replace(CALLS[4], inputs=("both",), input_shapes=(WIDE,))
    return healthy(wiring(*CALLS[:4], one, two, both, head, CALLS[5]))


def broken() -> Measurements:
    return _measured(second="branch#2", repeats="branch")


def fixed() -> Measurements:
    return _measured(second="other", repeats=None)
