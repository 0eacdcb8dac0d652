"""The encoder is unfrozen after a first fit; the next step fails."""

from __future__ import annotations

from dataclasses import replace

from saldiag.core.measurement import Measurements
from tests.support.measurements import VARIABLES, healthy, trainable, trainable_row

FAILED = {"has_gradient": None, "changed": None}


def _unfrozen(*, known: bool) -> Measurements:
    rows = [trainable_row(path) for path in VARIABLES]
    if not known:
        rows = [replace(r, in_optimizer="encoder" not in r.path, **FAILED) for r in rows]
    return healthy(trainable(*rows))


def broken() -> Measurements:
    return _unfrozen(known=False)


def fixed() -> Measurements:
    return _unfrozen(known=True)
