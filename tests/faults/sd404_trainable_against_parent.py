"""One layer set trainable inside a frozen block inside an unfrozen encoder."""

from __future__ import annotations

from saldiag.core.measurement import Measurements
from tests.support.measurements import FROZEN, healthy, trainable, trainable_row


def _status(**fields: bool):
    return trainable(
        trainable_row("encoder/block/expand/kernel", **fields),
        trainable_row("encoder/block/project/kernel", **{**FROZEN, "parents_flag": False}),
        trainable_row("head/kernel"),
        normalization=(),
    )


def broken() -> Measurements:
    return healthy(_status(parents_flag=False, in_layer=False))


def fixed() -> Measurements:
    return healthy(_status(parents_flag=True, in_layer=True))
