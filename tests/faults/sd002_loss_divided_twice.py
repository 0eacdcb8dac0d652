"""A loss of Keras, which divides by the replicas, divided by them once more."""

from __future__ import annotations

from saldiag.core.measurement import Measurements
from tests.support.measurements import distribution, healthy, loss_term


def broken() -> Measurements:
    return healthy(distribution(4, terms=(loss_term(0.25, factor=1 / 16),)))


def fixed() -> Measurements:
    return healthy(distribution(4, terms=(loss_term(1.0, factor=0.25),)))
