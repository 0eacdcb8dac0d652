"""A layer in the closure of a Lambda."""

from __future__ import annotations

from saldiag.core.measurement import Measurements, UntrackedWeights
from tests.support.measurements import CALLS, call, healthy, wiring

HIDDEN = UntrackedWeights("lambda/project", "Dense", True, 272)
CLOSED_OVER = (
    *CALLS[:4],
    call("lambda", "Lambda", "encoder/relu", leaf=False),
    call("lambda/project", "Dense", "encoder/relu", parameters=272),
    *CALLS[4:],
)


def broken() -> Measurements:
    return healthy(wiring(*CLOSED_OVER, untracked=(HIDDEN,)))


def fixed() -> Measurements:
    return healthy(wiring(*CLOSED_OVER))
