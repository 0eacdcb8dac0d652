"""A program that sets no seed."""

from __future__ import annotations

from faults.plain import healthy
from saldiag.core.measurement import Measurements, Seeds


def broken() -> Measurements:
    return healthy(Seeds(keras=False, tensorflow=False, deterministic=False))


def fixed() -> Measurements:
    return healthy(Seeds(keras=True, tensorflow=True, deterministic=False))
