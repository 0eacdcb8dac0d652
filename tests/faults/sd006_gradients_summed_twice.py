"""An ``all_reduce`` in the step, and the optimizer's own; the twin divides in between."""

from __future__ import annotations

from saldiag.core.measurement import Measurements, Source
from tests.support.measurements import distribution, healthy


def broken() -> Measurements:
    return healthy(distribution(sums_in_step=1, sum_source=Source("train.py", 24)))


def fixed() -> Measurements:
    return healthy(distribution(sums_in_step=1, gradient_factor=0.5))
