"""A table with a column that a join left empty."""

from __future__ import annotations

from saldiag.core.measurement import Measurements
from tests.support.measurements import data, healthy, tensor


def _table(constant: tuple[int, ...]) -> Measurements:
    table = tensor("table", -1.0, 1.0, shape=(None, 8), constant=constant)
    return healthy(data(inputs=(table,), samples=32))


def broken() -> Measurements:
    return _table((3,))


def fixed() -> Measurements:
    return _table(())
