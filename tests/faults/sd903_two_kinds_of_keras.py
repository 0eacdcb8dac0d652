"""A tf_keras layer inside a Keras 3 model."""

from __future__ import annotations

from saldiag.core.measurement import ForeignObject, ForeignObjects, Measurements
from tests.support.measurements import healthy


def broken() -> Measurements:
    layer = ForeignObject("hidden", "Dense", "tf_keras", 520, layer="")
    return healthy(ForeignObjects((layer,)))


def fixed() -> Measurements:
    return healthy(ForeignObjects(()))
