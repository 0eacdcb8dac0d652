"""An accuracy that each replica averages, summed; the twin divides the sum."""

from __future__ import annotations

from saldiag.core.measurement import Measurements, Source, SummedMean
from tests.support.measurements import distribution, healthy


def _summed(weight: float) -> Measurements:
    mean = SummedMean(Source("train.py", 30), weight, is_loss=False)
    return healthy(distribution(summed_means=(mean,)))


def broken() -> Measurements:
    return _summed(2.0)


def fixed() -> Measurements:
    return _summed(1.0)
