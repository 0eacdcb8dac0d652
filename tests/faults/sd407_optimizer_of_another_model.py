"""An Adam optimizer that has trained another model; training steps with it fail."""

from __future__ import annotations

from dataclasses import replace

from saldiag.core.measurement import Measurements
from tests.support.measurements import VARIABLES, healthy, trainable, trainable_row

FAILED = {"in_optimizer": False, "has_gradient": None, "changed": None}


def _shared(*, known: bool) -> Measurements:
    rows = [trainable_row(path) for path in VARIABLES]
    return healthy(trainable(*(row if known else replace(row, **FAILED) for row in rows)))


def broken() -> Measurements:
    return _shared(known=False)


def fixed() -> Measurements:
    return _shared(known=True)
