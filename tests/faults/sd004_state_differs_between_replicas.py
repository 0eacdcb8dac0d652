"""Moving statistics of replicas whose items come from different classes."""

from __future__ import annotations

from saldiag.core.measurement import Measurements, StateSpread
from tests.support.measurements import distribution, healthy


def _apart(difference: float) -> Measurements:
    return healthy(
        distribution(
            spread=(
                StateSpread("head/kernel", "weight", 0.0),
                StateSpread("encoder/norm", "statistic", difference),
            )
        )
    )


def broken() -> Measurements:
    return _apart(3.0)


def fixed() -> Measurements:
    return _apart(0.1)
