"""An encoder frozen without weights."""

from __future__ import annotations

from saldiag.core.measurement import Measurements, NormalizationRow
from tests.support.measurements import FROZEN, healthy, trainable, trainable_row


def _status(distance: float):
    return trainable(
        trainable_row("encoder/conv/kernel", start_distance=distance, **FROZEN),
        trainable_row("head/kernel"),
        normalization=(NormalizationRow("encoder/norm", False, False, 0.99, distance < 1),),
    )


def broken() -> Measurements:
    return healthy(_status(0.8))


def fixed() -> Measurements:
    return healthy(_status(6.0))
