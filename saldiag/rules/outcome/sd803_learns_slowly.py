"""SD803: the model learns, but many times more slowly than necessary."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds
from saldiag.core.measurement import GradientHistory, Measurements, OverfitHistory, RangeTest
from saldiag.core.wording import counted, number, percent
from saldiag.rules.shared import edits
from saldiag.rules.shared.update_ratios import fastest_rate, optimizer_and_rate, step_ratios
from saldiag.rules.verdicts.overfit import LIMITS, learns_slowly, lowest_error

HEALTHY_UPDATE_RATIO = 1e-3
"""|Δw| / |w| of a healthy step (Karpathy, CS231n: Neural Networks Part 3, 2015)."""
DEFAULT_LEARNING_RATE = 1e-3
"""Keras' default for Adam; used if the current rate is unknown."""


class LearnsSlowly(Rule):
    """The overfit test ended while the error was still falling.

    ## What it does
    Takes an overfit test that is inconclusive because its error falls until the end, and checks how
    far a step moves the weights. Small steps indicate a low learning rate. The finding then
    suggests a higher rate: the power of ten at which the loss fell fastest in a short range test
    (Smith, Cyclical Learning Rates, 2017), which runs after such a test, or one derived from the
    step size. Otherwise it reports how many steps memorising takes at the current pace.

    ## Why is this bad
    A loss that falls slowly and steadily looks like a plateau in a plot of a few epochs, and the
    training is often given up.

    ## Example
    ```python
    optimizer = keras.optimizers.Adam(1e-6)
    ```

    ## Use instead
    ```python
    optimizer = keras.optimizers.Adam(1e-3)
    ```

    ## Threshold
    - `learnt` = 0.1: error, as a share of the baseline error (of the best prediction that ignores
      the input), below which the samples count as memorised (as in SD801).
    - `ratio` = 1e-4: update-to-weight ratio |Δw| / |w| of a step, below which the learning rate is
      the cause; about 1e-3 is healthy (Karpathy, CS231n: Neural Networks Part 3, 2015).
    """

    code = "SD803"
    name = "learns-slowly"
    severity = "info"
    requires = (OverfitHistory,)
    compares_losses = True
    thresholds = {"learnt": LIMITS["learnt"], "ratio": 1e-4}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        history = measured.need(OverfitHistory)
        verdict_limits = {**LIMITS, "learnt": limits["learnt"]}
        if not learns_slowly(history, verdict_limits):
            return
        share = lowest_error(history) / history.baseline_independent
        ratio = _late_update_ratio(measured.get(GradientHistory))
        better = _better_rate(measured)
        slow = ratio < limits["ratio"] or math.isfinite(better)
        yield self.finding(
            f"after {counted(len(history.loss), 'step')} the error is {percent(share)} of the "
            "baseline error, that of the best prediction that ignores the input (threshold "
            f"{percent(limits['learnt'])}), and still falls. "
            + (
                _advice_on_rate(measured, ratio, better)
                if slow
                else _advice_on_steps(history, verdict_limits)
            ),
            _optimizer_with_better_rate(measured, ratio, better)
            if slow
            else "model.fit(x, y, epochs=…)  # more epochs",
            evidence={
                "share": share,
                "threshold": limits["learnt"],
                "update_ratio": ratio,
                "steps": len(history.loss),
                "fastest_rate": better,
            },
            confidence=0.8,
            edits=edits.learning_rate(measured, better) if math.isfinite(better) else (),
        )


def _better_rate(measured: Measurements) -> float:
    """Rate of the fastest fall in a range test if ten times the current rate or more; else nan."""
    better, (_, rate, _) = fastest_rate(measured.get(RangeTest)), optimizer_and_rate(measured)
    return better if better >= 10.0 * rate * (1 - 1e-6) else math.nan


def _late_update_ratio(history: GradientHistory | None) -> float:
    """Median update-to-weight ratio of the second half of the steps; nan if unknown."""
    ratios = step_ratios(history)[len(history.steps) // 2 :] if history is not None else np.empty(0)
    ratios = ratios[np.isfinite(ratios)]
    return float(np.median(ratios)) if len(ratios) else math.nan


def _factor_to_healthy_ratio(ratio: float) -> float:
    """Power of ten by which the learning rate can be raised."""
    return (
        float(10 ** max(1, math.floor(math.log10(HEALTHY_UPDATE_RATIO / ratio))))
        if ratio > 0
        else 1000.0
    )


def _advice_on_rate(measured: Measurements, ratio: float, better: float) -> str:
    name, _, rated = optimizer_and_rate(measured)
    moves = (
        f"{name}{rated} reaches an update-to-weight ratio of {number(ratio)}, where "
        f"{number(HEALTHY_UPDATE_RATIO)} is usual: "
    )
    if math.isfinite(better):
        return (
            f"{moves}in a range test the loss fell fastest at a learning rate of {number(better)}"
        )
    return (
        f"{moves}raise the learning rate by a factor of {number(_factor_to_healthy_ratio(ratio))}"
    )


def _optimizer_with_better_rate(measured: Measurements, ratio: float, better: float) -> str:
    name, rate, _ = optimizer_and_rate(measured)
    raised = (
        rate * _factor_to_healthy_ratio(ratio) if math.isfinite(rate) else DEFAULT_LEARNING_RATE
    )
    raised = better if math.isfinite(better) else raised
    optimizer = name if name.isidentifier() else "Adam"
    return f"keras.optimizers.{optimizer}(learning_rate={number(raised)})"


def _advice_on_steps(history: OverfitHistory, limits: Thresholds) -> str:
    """How many steps memorising takes if the error keeps falling by the same factor."""
    errors, steps = history.training_error, history.checked
    half = (steps >= steps[-1] // 2) & (errors > 0) & np.isfinite(errors)
    first, last = (float(e) for e in errors[half][[0, -1]])
    span = float(steps[half][-1] - steps[half][0])
    goal = limits["learnt"] * history.baseline_independent
    if not (last < first and span > 0):
        return "Train for more steps"
    more = span * math.log(last / goal) / math.log(first / last)
    return f"At this pace, memorising the samples takes {number(len(history.loss) + more)} steps"
