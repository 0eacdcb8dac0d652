"""A mean over the items of each of four replicas, summed by the optimizer."""

from __future__ import annotations

from saldiag.core.measurement import Measurements
from tests.support.measurements import distribution, healthy, loss_term


def broken() -> Measurements:
    return healthy(distribution(4, terms=(loss_term(4.0),)))


def fixed() -> Measurements:
    return healthy(distribution(4, terms=(loss_term(1.0, factor=0.25),)))
