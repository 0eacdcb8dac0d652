"""Two processes that each drew weights of their own."""

from __future__ import annotations

from saldiag.core.measurement import Measurements
from tests.support.measurements import distribution, healthy


def broken() -> Measurements:
    return healthy(distribution(processes=2, weight_digests=("a" * 64, "b" * 64)))


def fixed() -> Measurements:
    return healthy(distribution(processes=2, weight_digests=("a" * 64, "a" * 64)))
