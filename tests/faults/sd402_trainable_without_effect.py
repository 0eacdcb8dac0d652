"""One layer set trainable inside a frozen encoder that does not list it."""

from __future__ import annotations

from saldiag.core.measurement import Measurements
from tests.support.measurements import FROZEN, healthy, trainable, trainable_row


def _status(flag: bool):
    switched = {**FROZEN, "layer_flag": flag, "parents_flag": False}
    return trainable(
        trainable_row("encoder/conv_1/kernel", **{**FROZEN, "parents_flag": False}),
        trainable_row("encoder/conv_2/kernel", **switched),
        trainable_row("head/kernel"),
        normalization=(),
    )


def broken() -> Measurements:
    return healthy(_status(flag=True))


def fixed() -> Measurements:
    return healthy(_status(flag=False))
