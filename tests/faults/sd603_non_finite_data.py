"""Empty cells in a table."""

from __future__ import annotations

import numpy as np

from saldiag.core.measurement import Measurements
from tests.support.measurements import activations, data, healthy, overfit, rows_with, tensor


def broken() -> Measurements:
    nan = np.array([np.nan, np.nan])
    return healthy(
        data(inputs=(tensor("image", -1.0, 1.0, nan_share=0.01),)),
        activations(*rows_with(activations().rows, "encoder/conv", nonfinite_share=0.125)),
        overfit([np.nan] * 2, checked=np.array([0, 1]), training_error=nan, inference_error=nan,
                stopped="non-finite"),
    )  # fmt: skip


def fixed() -> Measurements:
    return healthy(data())
