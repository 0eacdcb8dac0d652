"""``tf.add_n(model.losses)`` in each replica; the twin divides it by their number."""

from __future__ import annotations

import numpy as np

from saldiag.core.measurement import Measurements, Source
from tests.support.measurements import distribution, healthy


def _penalty(share: float) -> Measurements:
    full = np.full((4, 2), 0.3)
    return healthy(
        distribution(penalty=share * full, full_penalty=full, penalty_source=Source("train.py", 22))
    )


def broken() -> Measurements:
    return _penalty(1.0)


def fixed() -> Measurements:
    return _penalty(0.5)
