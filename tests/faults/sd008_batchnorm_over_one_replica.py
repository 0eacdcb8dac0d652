"""BatchNorm on 1x1 feature maps: four images, one for each replica."""

from __future__ import annotations

import numpy as np

from saldiag.core.measurement import Measurements
from tests.support.measurements import (
    activations,
    calls_with,
    distribution,
    dtypes,
    healthy,
    wiring,
)

POOLED = {"input_shapes": ((None, 1, 1, 16),), "output_shapes": ((None, 1, 1, 16),)}


def _batch(items: int) -> Measurements:
    return healthy(
        wiring(*calls_with("encoder/norm", **POOLED)),
        activations(batch_size=4 * items),
        dtypes(batch_size=4 * items),
        distribution(4, items=np.full((4, 4), float(items))),
    )


def broken() -> Measurements:
    return _batch(1)


def fixed() -> Measurements:
    return _batch(8)
