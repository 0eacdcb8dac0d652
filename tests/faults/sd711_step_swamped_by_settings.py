"""AdamW with a weight decay of 100: each step removes a tenth of the weights."""

from __future__ import annotations

import numpy as np

from saldiag.core.measurement import Measurements
from tests.support.measurements import STEPS, VARIABLES, gradients, healthy, overfit, stuck, wiring

SHAPE = (STEPS, len(VARIABLES))


def _decayed(decay: float, kept: float) -> Measurements:
    weights = kept ** np.arange(STEPS)[:, None] * np.ones(SHAPE)
    optimizer = {"optimizer": "AdamW", "optimizer_config": {"weight_decay": decay}}
    ratio = np.full(SHAPE, 0.1 if decay > 1 else 0.003)
    return healthy(wiring(**optimizer), gradients(weight_norm=weights, update_ratio=ratio))


def broken() -> Measurements:
    return _decayed(100.0, 0.9).with_(stuck())


def fixed() -> Measurements:
    return _decayed(0.004, 1.0).with_(overfit())
