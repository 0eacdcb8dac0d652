"""Ten classes are predicted from a hidden layer of one unit; the twin's has 32."""

from __future__ import annotations

from saldiag.core.measurement import Measurements
from tests.support.measurements import call, healthy, stuck, wiring


def _wiring(units: int):
    hidden = call("hidden", "Dense", "", parameters=17, activation="relu",
                  input_shapes=((None, 16),), output_shapes=((None, units),))  # fmt: skip
    answer = call("answer", "Dense", "hidden", parameters=20, activation="softmax", axis=1,
                  input_shapes=((None, units),), output_shapes=((None, 10),))  # fmt: skip
    return wiring(hidden, answer, loss="sparse_categorical_crossentropy")


def broken() -> Measurements:
    return healthy(_wiring(1), stuck(0.24))


def fixed() -> Measurements:
    return healthy(_wiring(32))
