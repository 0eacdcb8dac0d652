"""A training step that multiplies one layer's gradient by 10,000, under plain SGD."""

from __future__ import annotations

import numpy as np

from saldiag.core.measurement import Measurements
from tests.support.measurements import CALLS, STEPS, call, flow, gradients, healthy, stuck, wiring

KERNELS = ("encoder/conv/kernel", "encoder/more/kernel", "head/kernel")


def _ratios(first: float) -> Measurements:
    ratio = np.full((STEPS, len(KERNELS)), 1e-3)
    ratio[:, 0] = first
    more = call("encoder/more", "Conv2D", "encoder/relu", parameters=576)
    calls = (*CALLS[:4], more, call("head", "Conv2D", "encoder/more", parameters=145), CALLS[5])
    norms = dict.fromkeys(KERNELS, 0.1)
    return healthy(
        wiring(*calls, optimizer="SGD"), flow(norms), gradients(norms, update_ratio=ratio)
    )


def broken() -> Measurements:
    return _ratios(3.0).with_(stuck())


def fixed() -> Measurements:
    return _ratios(3e-3)
