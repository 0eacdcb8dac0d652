"""A frozen BatchNorm that normalises with batch statistics."""

from __future__ import annotations

from saldiag.core.measurement import Measurements, NormalizationRow
from tests.support.measurements import FROZEN, healthy, trainable, trainable_row


def _status(training_mode: bool):
    return trainable(
        trainable_row("encoder/norm/gamma", size=16, **FROZEN),
        trainable_row("head/kernel"),
        normalization=(NormalizationRow("encoder/norm", True, training_mode, 0.99, False),),
    )


def broken() -> Measurements:
    return healthy(_status(training_mode=True))


def fixed() -> Measurements:
    return healthy(_status(training_mode=False))
