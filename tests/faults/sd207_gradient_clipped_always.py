"""SGD with a clipping norm of 1e-6."""

from __future__ import annotations

import numpy as np

from saldiag.core.measurement import Measurements
from tests.support.measurements import STEPS, VARIABLES, gradients, healthy, overfit, stuck, wiring


def _clipped(limit: float) -> dict:
    return {"optimizer": "SGD", "optimizer_config": {"global_clipnorm": limit}}


def broken() -> Measurements:
    ratios = np.full((STEPS, len(VARIABLES)), 1e-7)
    return healthy(wiring(**_clipped(1e-6)), gradients(update_ratio=ratios), stuck())


def fixed() -> Measurements:
    return healthy(wiring(**_clipped(0.2)), gradients(), overfit())
