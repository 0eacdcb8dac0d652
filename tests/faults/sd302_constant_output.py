"""A saturated sigmoid that outputs 1.0 for every input, before and after training."""

from __future__ import annotations

from saldiag.core.measurement import Measurements
from tests.support.measurements import activations, data, healthy, rows_with, stuck, tensor

ONE = {"minimum": 1.0, "maximum": 1.0, "mean": 1.0, "std": 0.0, "sample_variation": 0.0}


def broken() -> Measurements:
    return healthy(
        activations(*rows_with(activations().rows, "output", **ONE)),
        data(predictions=(tensor("output", 1.0, 1.0),)),
        stuck(0.7, prediction_variation=0.0),
    )


def fixed() -> Measurements:
    return healthy(
        activations(*rows_with(activations().rows, "output", sample_variation=0.01)),
        data(predictions=(tensor("output", 0.4, 0.6, sample_variation=0.01),)),
    )
