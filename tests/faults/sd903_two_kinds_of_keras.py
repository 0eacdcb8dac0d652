"""A tf_keras layer inside a Keras 3 model."""

from __future__ import annotations

from faults.plain import healthy
from saldiag.core.measurement import ForeignObject, ForeignObjects, Measurements


def broken() -> Measurements:
    layer = ForeignObject("hidden", "Dense", "tf_keras", 520, layer="")
    return healthy(ForeignObjects((layer,)))


def fixed() -> Measurements:
    return healthy(ForeignObjects(()))
