"""The model has a refinement layer that its call never uses."""

from __future__ import annotations

from saldiag.core.measurement import Measurements, Source, UncalledLayer
from tests.support.measurements import CALLS, call, healthy, wiring

REFINE = UncalledLayer("refine", ("Conv2D",), True, False, 0, Source("project/model.py", 14))
CALLED = call("refine", "Conv2D", "encoder/relu", parameters=2320)


def broken() -> Measurements:
    return healthy(wiring(*CALLS, uncalled=(REFINE,)))


def fixed() -> Measurements:
    *encoder, head, output = CALLS
    return healthy(wiring(*encoder, CALLED, head, output))
