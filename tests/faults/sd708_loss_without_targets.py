"""A loss that compares the predictions with themselves."""

from __future__ import annotations

from saldiag.core.measurement import Measurements
from tests.support.measurements import healthy, loss_check, wiring


def _loss(*others: float) -> Measurements:
    check = loss_check(loss="custom:loss", against_targets=0.48, against_others=others)
    return healthy(check, wiring(loss="custom:loss", loss_config={}))


def broken() -> Measurements:
    return _loss(0.48, 0.48)


def fixed() -> Measurements:
    return _loss(0.51, 0.62)
