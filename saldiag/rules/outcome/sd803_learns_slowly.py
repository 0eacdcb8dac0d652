"""SD803: the model learns, and would take many times as long as it has to."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds
from saldiag.core.measurement import GradientHistory, Measurements, OverfitHistory, RangeTest
from saldiag.rules.shared import edits
from saldiag.rules.shared.update_ratios import fastest_rate, optimizer_and_rate, step_ratios
from saldiag.rules.shared.wording import counted, number, percent
from saldiag.rules.verdicts.overfit import LIMITS, learns_slowly, lowest_error

USUAL = 1e-3
"""|Δw| / |w| of a healthy step (Karpathy, CS231n: Neural Networks Part 3, 2015)."""


class LearnsSlowly(Rule):
    """The overfit test ran out while the error was still on its way down.

    ## What it does
    Takes an overfit test that proves nothing, for its error falls to the end, and looks at how far
    a step moves the weights. Small steps are the learning rate's doing, and the finding says by
    how much it can be raised: to the decade in which the loss fell fastest in a short range test
    (Smith, Cyclical Learning Rates, 2017), which is run where a test ends like this, or by the
    size of the step. Otherwise it says how many steps it takes at this pace.

    ## Why is this bad
    A loss that falls straight and slowly looks like a plateau on a plot of a few epochs, and is
    often given up.

    ## Example
    ```python
    optimizer = keras.optimizers.Adam(1e-6)
    ```

    ## Use instead
    ```python
    optimizer = keras.optimizers.Adam(1e-3)
    ```

    ## Threshold
    - `learnt` = 0.1: error as a share of the best prediction's that ignores the input, at which the
      samples are memorised (saldiag explain SD801).
    - `ratio` = 1e-4: |Δw| / |w| in a step, below which it is the rate that makes it slow; about
      1e-3 is healthy (Karpathy, CS231n: Neural Networks Part 3, 2015).
    """

    code = "SD803"
    name = "learns-slowly"
    severity = "info"
    requires = (OverfitHistory,)
    thresholds = {"learnt": LIMITS["learnt"], "ratio": 1e-4}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        history = measured.need(OverfitHistory)
        own = {**LIMITS, "learnt": limits["learnt"]}
        if not learns_slowly(history, own):
            return
        share = lowest_error(history) / history.baseline_independent
        ratio = _step(measured.get(GradientHistory))
        better = _better_rate(measured)
        slow = ratio < limits["ratio"] or math.isfinite(better)
        yield self.finding(
            f"after {counted(len(history.loss), 'step')} the error is {percent(share)} of that of "
            f"the best prediction that ignores the input (threshold {percent(limits['learnt'])}), "
            "and still falls. "
            + (_raise(measured, ratio, better) if slow else _wait(history, own)),
            _fix(measured, ratio, better) if slow else "saldiag overfit --max-steps 4000",
            evidence={
                "share": share, "threshold": limits["learnt"], "update_ratio": ratio,
                "steps": len(history.loss), "fastest_rate": better,
            },
            confidence=0.8,
            edits=edits.learning_rate(measured, better) if math.isfinite(better) else (),
        )  # fmt: skip


def _better_rate(measured: Measurements) -> float:
    """Where a range test found the loss to fall fastest, if that is ten times the present rate."""
    better, (_, rate, _) = fastest_rate(measured.get(RangeTest)), optimizer_and_rate(measured)
    return better if better >= 10.0 * rate * (1 - 1e-6) else math.nan


def _step(history: GradientHistory | None) -> float:
    """|Δw| / |w| of a step of the second half, in the median; ``nan`` if unknown."""
    ratios = step_ratios(history)[len(history.steps) // 2 :] if history is not None else np.empty(0)
    ratios = ratios[np.isfinite(ratios)]
    return float(np.median(ratios)) if len(ratios) else math.nan


def _decade(ratio: float) -> float:
    """By what power of ten the rate can be raised."""
    return float(10 ** max(1, math.floor(math.log10(USUAL / ratio)))) if ratio > 0 else 1000.0


def _raise(measured: Measurements, ratio: float, better: float) -> str:
    name, _, rated = optimizer_and_rate(measured)
    moves = (
        f"{name}{rated} moves the weights by {number(ratio)} of their size in a step, where "
        f"{number(USUAL)} is usual: "
    )
    if math.isfinite(better):
        return (
            f"{moves}in a range test the loss fell fastest at a learning rate of {number(better)}"
        )
    return f"{moves}raise the learning rate by {number(_decade(ratio))}"


def _fix(measured: Measurements, ratio: float, better: float) -> str:
    name, rate, _ = optimizer_and_rate(measured)
    raised = rate * _decade(ratio) if math.isfinite(rate) else USUAL
    raised = better if math.isfinite(better) else raised
    optimizer = name if name.isidentifier() else "Adam"
    return f"keras.optimizers.{optimizer}(learning_rate={number(raised)})"


def _wait(history: OverfitHistory, limits: Thresholds) -> str:
    """How many steps it takes if the error goes on falling by the same share."""
    errors, steps = history.training_error, history.checked
    half = (steps >= steps[-1] // 2) & (errors > 0) & np.isfinite(errors)
    first, last = (float(e) for e in errors[half][[0, -1]])
    span = float(steps[half][-1] - steps[half][0])
    goal = limits["learnt"] * history.baseline_independent
    if not (last < first and span > 0):
        return "Give it more steps"
    more = span * math.log(last / goal) / math.log(first / last)
    return f"At this pace {number(len(history.loss) + more)} steps memorise the samples"
