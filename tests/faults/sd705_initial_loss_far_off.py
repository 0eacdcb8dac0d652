"""An output layer initialised a hundred times too wide, under binary cross-entropy."""

from __future__ import annotations

from saldiag.core.measurement import Baselines, Measurements
from tests.support.measurements import data, healthy, loss_check, wiring


def _start(loss: float) -> Measurements:
    return healthy(
        wiring(loss="binary_crossentropy", loss_config={"from_logits": False}),
        data(baselines=Baselines("binary_crossentropy", 0.6, 0.3, 0.58, "mean")),
        loss_check(
            loss="binary_crossentropy",
            reported=loss,
            recomputed=loss,
            reported_training=loss,
            recomputed_training=loss,
        ),
    )


def broken() -> Measurements:
    return _start(12.0)


def fixed() -> Measurements:
    return _start(0.8)
