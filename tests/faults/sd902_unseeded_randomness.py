"""A program that sets no seed."""

from __future__ import annotations

from saldiag.core.measurement import Measurements, Seeds
from tests.support.measurements import healthy


def broken() -> Measurements:
    return healthy(Seeds(keras=False, tensorflow=False, deterministic=False))


def fixed() -> Measurements:
    return healthy(Seeds(keras=True, tensorflow=True, deterministic=False))
