"""``model.trainable = False`` before compile."""

from __future__ import annotations

from saldiag.core.measurement import Measurements
from tests.support.measurements import (
    FROZEN,
    VARIABLES,
    healthy,
    overfit,
    trainable,
    trainable_row,
    wiring,
)


def broken() -> Measurements:
    return healthy(
        wiring(trainable_parameters=0),
        trainable(
            *(trainable_row(path, start_distance=0.8, **FROZEN) for path in VARIABLES),
            normalization=(),
            trainable_parameters=0,
        ),
        overfit([0.5], no_gradient=True, stopped="no gradient"),
    )


def fixed() -> Measurements:
    return healthy(wiring(trainable_parameters=609))
