"""A seed generator with the same state in all replicas."""

from __future__ import annotations

from saldiag.core.measurement import Measurements
from tests.support.measurements import distribution, healthy


def broken() -> Measurements:
    return healthy(
        distribution(random_layers=("encoder/dropout",), equal_seeds=("encoder/dropout",))
    )


def fixed() -> Measurements:
    return healthy(distribution(random_layers=("encoder/dropout",)))
