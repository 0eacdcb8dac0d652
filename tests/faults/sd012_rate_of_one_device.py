"""A batch of 64 times the replicas, at the rate of one device."""

from __future__ import annotations

from saldiag.core.measurement import Measurements, Source
from tests.support.measurements import distribution, healthy


def _scaled(rate_too: bool) -> Measurements:
    return healthy(
        distribution(
            4,
            batch_scaled=Source("train.py", 8),
            rate_scaled=rate_too,
            rate_source=Source("train.py", 15),
        )
    )


def broken() -> Measurements:
    return _scaled(False)


def fixed() -> Measurements:
    return _scaled(True)
