"""Arrays sorted by class with validation_split: only validation has the last class."""

from __future__ import annotations

from saldiag.core.measurement import Measurements
from tests.support.measurements import healthy, items, wiring


def _split(training, validation) -> Measurements:
    facts = items(class_counts=training, validation_class_counts=validation)
    return healthy(wiring(loss="binary_crossentropy"), facts)


def broken() -> Measurements:
    return _split(((0, 400),), ((1, 100),))


def fixed() -> Measurements:
    return _split(((0, 200), (1, 200)), ((0, 50), (1, 50)))
