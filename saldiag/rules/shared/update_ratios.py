"""How far one step moves the weights, computed from a ``GradientHistory``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from saldiag.core.findings.rule import CannotJudge
from saldiag.core.measurement import (
    GradientHistory,
    Measurements,
    OverfitHistory,
    RangeTest,
    Wiring,
)
from saldiag.core.wording import label, number

Array = np.ndarray[Any, Any]

INVARIANT = frozenset({"Adam", "Adamax", "AdamW", "Lion", "Nadam", "RMSprop"})
"""Optimizers whose step does not depend on the scale of the gradient, as long as the gradient is
large relative to their epsilon (Kingma & Ba, Adam, 2015, section 2.1)."""

EPSILON = 1e-7
"""Keras' default."""


def kernel_columns(history: GradientHistory) -> list[int]:
    """Columns of the weight matrices; of all variables if there is none.

    Biases start at 0 and small scales near it: their ratio says nothing about the learning rate.
    """
    kernels = [i for i, v in enumerate(history.variables) if len(v.shape) > 1]
    return kernels or list(range(len(history.variables)))


def step_ratios(history: GradientHistory, columns: Sequence[int] | None = None) -> Array:
    """Update-to-weight ratio |Δw| / |w| of each step (T): median over matrices, nan if unknown.

    ``columns``: columns of the history to use instead of all weight matrices.
    """
    chosen = kernel_columns(history) if columns is None else list(columns)
    return _row_medians(history.update_ratio[:, chosen])


def gradients_to_weights(history: GradientHistory) -> Array:
    """|g| / |w| of each weight matrix: median over the steps, nan if unknown."""
    columns = kernel_columns(history)
    weight = history.weight_norm[:, columns]
    ratio = np.divide(
        history.norm[:, columns], weight, out=np.full(weight.shape, np.nan), where=weight > 0
    )
    return _row_medians(ratio.T)


def gradients_in_epsilons(history: GradientHistory, wiring: Wiring) -> Array:
    """Largest gradient of each weight matrix over the optimizer's epsilon: median over the steps.

    nan if the optimizer's step depends on the scale of the gradient.
    """
    columns = kernel_columns(history)
    if wiring.optimizer not in INVARIANT or not len(history.maximum):
        return np.full(len(columns), math.nan)
    medians: Array = np.median(np.nan_to_num(history.maximum[:, columns]), axis=0)
    return medians / float(wiring.optimizer_config.get("epsilon") or EPSILON)


def optimizer_and_rate(measured: Measurements) -> tuple[str, float, str]:
    """The optimizer's name, its learning rate, and the rate as text to append to the name.

    If the rate is unknown, it is nan and the text is empty.
    """
    wiring = measured.get(Wiring)
    rate = wiring.learning_rate if wiring is not None else math.nan
    name = label(wiring.optimizer) if wiring is not None else "the optimizer"
    return name, rate, f" at a learning rate of {number(rate)}" if math.isfinite(rate) else ""


LOSS_RISE = 1.25
"""Rise of the loss in a range test that ends it: more than dropout noise, less than a jump. Our own
choice."""


def fastest_rate(test: RangeTest | None) -> float:
    """The power of ten at which the loss fell fastest in a range test; nan if it never fell.

    It has the steepest slope of the log loss over the log rate before the lowest loss, averaged
    over three neighbours. Once the loss, as the median of three neighbours, has risen to
    ``LOSS_RISE`` times its lowest value so far, the rate is too high and later losses do not count.
    """
    if test is None or len(test.loss) < 4 or not np.isfinite(test.loss[:-1]).all():
        return math.nan
    padded = np.pad(test.loss, 1, mode="edge")
    steady = np.median([padded[:-2], padded[1:-1], padded[2:]], axis=0)
    risen = np.flatnonzero(~(steady <= LOSS_RISE * np.minimum.accumulate(steady)))
    loss = test.loss[: risen[0]] if len(risen) else test.loss
    lowest = int(np.nanargmin(loss)) if len(loss) else 0
    if lowest < 1 or loss[lowest] <= 0:
        return math.nan
    falls = -np.diff(np.log(loss[: lowest + 1]))
    smooth = np.convolve(np.pad(falls, 1, mode="edge"), np.ones(3) / 3, mode="valid")
    steepest = int(np.argmax(smooth))
    if smooth[steepest] <= 0:
        return math.nan
    return float(10.0 ** math.floor(math.log10(test.rates[steepest + 1]) + 1e-9))


@dataclass(frozen=True)
class Course:
    """The loss over the steps, in four numbers."""

    start: float
    """Loss of the first step."""
    highest: float
    """Highest finite loss."""
    end: float
    """Median loss of the last quarter."""
    finite: bool
    """Whether all losses of the last quarter are finite."""


def course_of(measured: Measurements, history: GradientHistory) -> Course:
    """The course of the loss in the overfit test, or over the recorded steps without a test.

    Raises:
        CannotJudge: the first loss is unknown or not finite.
    """
    loss, test = history.loss, measured.get(OverfitHistory)
    if test is not None and len(test.loss):
        loss = test.loss
    if len(loss) < 2 or not math.isfinite(loss[0]):
        raise CannotJudge("the loss of the first steps is unknown or not finite")
    tail = loss[-max(1, len(loss) // 4) :]
    finite = bool(np.isfinite(tail).all())
    return Course(
        start=float(loss[0]),
        highest=float(loss[np.isfinite(loss)].max()),
        end=float(np.median(tail)),
        finite=finite,
    )


def _row_medians(values: Array) -> Array:
    kept = (row[np.isfinite(row)] for row in values)
    return np.array([float(np.median(row)) if len(row) else math.nan for row in kept])
