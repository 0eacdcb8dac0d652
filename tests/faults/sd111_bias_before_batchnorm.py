"""The encoder's convolution has a bias, and BatchNorm follows it."""

from __future__ import annotations

from dataclasses import replace

from saldiag.core.measurement import Measurements
from tests.support.measurements import calls_with, healthy, wiring


def _wiring(use_bias: bool):
    calls = calls_with("encoder/conv", config={"kernel_size": [3, 3], "use_bias": use_bias})
    norm = {"axis": -1, "momentum": 0.99}
    return wiring(*(replace(c, config=norm) if c.path == "encoder/norm" else c for c in calls))


def broken() -> Measurements:
    return healthy(_wiring(True))


def fixed() -> Measurements:
    return healthy(_wiring(False))
