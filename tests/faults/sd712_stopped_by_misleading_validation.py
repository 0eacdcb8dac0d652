"""EarlyStopping kept epoch 2: BatchNorm's statistics lag, which is SD802. Not the root."""

from __future__ import annotations

from saldiag.core.measurement import ActedCallback, Measurements
from tests.faults.sd802_inference_lags_training import LAGGING
from tests.support.measurements import course, healthy, validation

ROOT = False
STOPPED = ActedCallback("EarlyStopping", "val_loss", 10, 2)


def broken() -> Measurements:
    check = validation(0.2, 0.04, statistics=(LAGGING,), callbacks=(STOPPED,))
    return healthy(course(None, [0.3, 0.15, *[0.2] * 8]), check)


def fixed() -> Measurements:
    return healthy(course(), validation(callbacks=(STOPPED,)))
