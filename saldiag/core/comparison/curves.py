"""Loss and errors by step or epoch of each run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from saldiag.core.comparison.recorded import Recorded
from saldiag.core.measurement import Array, GradientHistory, OverfitHistory, TrainingHistory


@dataclass(frozen=True)
class Curve:
    """One quantity of one run at T points; equal ``quantity`` and ``axis`` share a panel."""

    run: int
    """Index of the run."""
    quantity: str
    """What ``y`` is (``val_loss``, ``overfit test: loss``)."""
    axis: str
    """Unit of ``x``: ``step`` or ``epoch``."""
    x: Array
    """Steps or epochs (T)."""
    y: Array
    """Values (T), in the quantity's unit."""


def curves_of(run: Recorded, index: int) -> Iterator[Curve]:
    """The curves of one run that have at least one finite value."""
    for quantity, axis, x, y in _recorded(run):
        places, values = np.ravel(x), np.ravel(y).astype(float)
        length = min(len(places), len(values))
        if length and np.isfinite(values[:length]).any():
            yield Curve(index, quantity, axis, places[:length], values[:length])


def _recorded(run: Recorded) -> Iterator[tuple[str, str, Any, Any]]:
    test, history = run.measured.get(OverfitHistory), run.measured.get(TrainingHistory)
    if test is not None:
        yield "overfit test: loss", "step", test.steps, test.loss
        yield "overfit test: training mode", "step", test.checked, test.training_error
        yield "overfit test: inference mode", "step", test.checked, test.inference_error
    if history is not None:
        for name, values in zip(history.names, np.atleast_2d(history.values), strict=False):
            yield name, "epoch", history.epochs, values
    steps = run.measured.get(GradientHistory)
    # Of the other commands these are the losses of the test, or those that the epochs sum up.
    if steps is not None and history is None and (test is None or run.info.made_by() == "run"):
        yield "training: loss", "step", steps.steps, steps.loss
