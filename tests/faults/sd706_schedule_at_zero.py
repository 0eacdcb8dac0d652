"""Cosine decay with decay_steps in epochs: it ends after a fifth of the first of 20 epochs."""

from __future__ import annotations

import numpy as np

from saldiag.core.measurement import Measurements
from tests.support.measurements import healthy, plan


def _decay(steps: int) -> Measurements:
    at = np.linspace(0, 20, 200)
    rates = 0.5e-3 * (1 + np.cos(np.pi * np.minimum(1, 100 * at / steps)))
    return healthy(plan(at=at, rates=rates, schedule_config={"decay_steps": steps}))


def broken() -> Measurements:
    return _decay(20)


def fixed() -> Measurements:
    return _decay(2000)
