"""The same batch for each of two replicas; the loss is then a mean of 32 items twice."""

from __future__ import annotations

import numpy as np

from saldiag.core.measurement import Measurements
from tests.support.measurements import distribution, healthy, loss_term


def broken() -> Measurements:
    prints = np.repeat(np.arange(8.0).reshape(4, 1, 2), 2, axis=1)
    return healthy(distribution(fingerprints=prints, terms=(loss_term(2.0),)))


def fixed() -> Measurements:
    return healthy(distribution())
