"""BatchNorm on 1x1 feature maps with one image per batch."""

from __future__ import annotations

from saldiag.core.measurement import Measurements
from tests.support.measurements import activations, calls_with, dtypes, healthy, wiring

POOLED = {"input_shapes": ((None, 1, 1, 16),), "output_shapes": ((None, 1, 1, 16),)}


def _batch(size: int) -> Measurements:
    calls = calls_with("encoder/norm", **POOLED)
    return healthy(wiring(*calls), activations(batch_size=size), dtypes(batch_size=size))


def broken() -> Measurements:
    return _batch(1)


def fixed() -> Measurements:
    return _batch(16)
