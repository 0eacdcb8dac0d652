"""A global norm that is exceeded in each replica at every step."""

from __future__ import annotations

from saldiag.core.measurement import Measurements
from tests.support.measurements import distribution, healthy


def broken() -> Measurements:
    return healthy(distribution(clipping="global_clipnorm", clip_limit=0.05))


def fixed() -> Measurements:
    return healthy(distribution(clipping="global_clipnorm", clip_limit=5.0))
