"""A program that ends with an error whose message says what is wrong."""

from __future__ import annotations

from saldiag.core.measurement import Measurements, ProgramError, Source
from tests.support.measurements import healthy

MESSAGE = (
    "Argument `output` must have rank (ndim) `target.ndim - 1`. Received: target.shape=(None, 3), "
    "output.shape=(None, 3)"
)


def broken() -> Measurements:
    return healthy(
        ProgramError("ValueError", MESSAGE, Source("train.py", 12, "model.fit(x, y)")),
    )


def fixed() -> Measurements:
    return healthy(ProgramError())
