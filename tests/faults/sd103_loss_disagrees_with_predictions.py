"""Keras computes the loss from the logits before a custom output activation.

The loss falls, but the predictions stay wrong.
"""

from __future__ import annotations

from saldiag.core.measurement import Measurements
from tests.support.measurements import calls_with, healthy, loss_check, stuck, wiring

CALLS = calls_with("output", kind="Custom", activation="custom")


def broken() -> Measurements:
    return healthy(
        wiring(*CALLS, loss="binary_crossentropy"),
        loss_check(loss="binary_crossentropy", reported=0.49, recomputed=8.07),
        stuck(8.07, metric="binary_crossentropy", baseline_independent=0.6),
    )


def fixed() -> Measurements:
    return healthy(
        wiring(*CALLS, loss="binary_crossentropy"),
        loss_check(loss="binary_crossentropy", reported=0.49, recomputed=0.4904),
    )
