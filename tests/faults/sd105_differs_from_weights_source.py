"""A stride of 1 where MobileNetV2, which the weights come from, has 2."""

from __future__ import annotations

from saldiag.core.measurement import Measurements, Origin
from tests.support.measurements import healthy, wiring


def _origins(stride: int) -> tuple[Origin, ...]:
    there = {"strides": (2, 2), "activation": "relu6"}
    here = {"strides": [stride, stride], "activation": "relu6"}
    return (
        Origin("encoder/conv", "MobileNetV2", "block_1_depthwise", True, here, there),
        Origin("head", "MobileNetV2", None, False, {"strides": 1}, {}),
    )


def broken() -> Measurements:
    return healthy(wiring(origins=_origins(1)))


def fixed() -> Measurements:
    return healthy(wiring(origins=_origins(2)))
