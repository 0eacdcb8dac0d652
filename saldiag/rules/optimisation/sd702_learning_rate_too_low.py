"""SD702: steps so small that the weights stay what they were."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds
from saldiag.core.measurement import (
    Array,
    GradientHistory,
    Measurements,
    OverfitHistory,
    RangeTest,
    Wiring,
)
from saldiag.rules.shared import edits
from saldiag.rules.shared.trend_statistics import first_and_last_quarter
from saldiag.rules.shared.update_ratios import (
    fastest_rate,
    gradients_in_epsilons,
    gradients_to_weights,
    kernel_columns,
    optimizer_and_rate,
    step_ratios,
)
from saldiag.rules.shared.wording import counted, number
from saldiag.rules.verdicts.overfit import verdict_of

USUAL = 1e-3
"""Keras' own for Adam, where no range test tells better."""


class LearningRateTooLow(Rule):
    """The optimizer's steps do not move the weights, though their gradients are sizeable.

    ## What it does
    Takes |Δw| / |w| of the steps really taken, in the median over the matrices of weights. Speaks
    up where every one of the last half of the steps is tiny, also over those matrices alone whose
    gradients are not small beside the weights (small gradients have other causes), the rate does
    not rise (a warm-up), and the overfit test does not show that the model learns. Steps with a
    gradient that is not finite, which loss scaling leaves out, do not count.

    ## Why is this bad
    Training takes a thousand times as long as it has to, or does nothing at all: a rate that is
    mistyped, or a schedule that has come to its end.

    ## Example
    ```python
    optimizer = keras.optimizers.Adam(1e-9)
    ```

    ## Use instead
    ```python
    optimizer = keras.optimizers.Adam(1e-3)
    ```

    ## Threshold
    - `ratio` = 1e-6: |Δw| / |w| in one step; about 1e-3 is healthy (Karpathy, CS231n: Neural
      Networks Part 3, 2015, "Ratio of weights:updates"). A thousandth of that is allowed for.
    - `gradient` = 1e-4: |g| / |w| of the matrix that has the most of it, from which on it is not
      the gradient that is small.
    - `epsilons` = 100: largest gradient over the optimizer's epsilon, from which on Adam and its
      like step by the rate alone, however small it is (Kingma & Ba, Adam, 2015, section 2.1).
    - `min_steps` = 10: fewest recorded steps, so that the first ones of a warm-up do not count.
    - `rise` = 1.5: growth of the ratio from the first to the last quarter of the steps that makes
      it a warm-up.
    """

    code = "SD702"
    name = "learning-rate-too-low"
    severity = "error"
    requires = (GradientHistory,)
    thresholds = {"ratio": 1e-6, "gradient": 1e-4, "epsilons": 100, "min_steps": 10, "rise": 1.5}
    explains = {"SD801": "anywhere"}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        history = measured.need(GradientHistory)
        kept = _finite(history)
        ratios = step_ratios(history)[kept]
        ratios = ratios[np.isfinite(ratios)]
        if len(ratios) < limits["min_steps"]:
            raise CannotJudge(
                f"{counted(len(ratios), 'step')} with finite gradients recorded, needs "
                f"{limits['min_steps']:.0f}"
            )
        highest = _highest(ratios)
        first, last = first_and_last_quarter(ratios)
        if highest >= limits["ratio"] or last > limits["rise"] * first:
            return
        sizeable = _sizeable(measured, history, limits)
        if not sizeable or _highest(step_ratios(history, sizeable)[kept]) >= limits["ratio"]:
            return
        if verdict_of(measured.get(OverfitHistory))[0] == "learns":
            return
        gradients = gradients_to_weights(history)
        gradient = float(np.nan_to_num(gradients, posinf=0.0).max(initial=0.0))
        yield self._too_low(measured, highest, gradient, limits["ratio"])

    def _too_low(
        self, measured: Measurements, ratio: float, gradient: float, limit: float
    ) -> Finding:
        name, rate, rated = optimizer_and_rate(measured)
        found = fastest_rate(measured.get(RangeTest))
        better = found if found > rate else USUAL
        optimizer = name if name.isidentifier() else "Adam"
        return self.finding(
            f"{name}{rated} moves the weights by at most {number(ratio)} of their size in a step "
            f"(threshold {number(limit)}), though gradients are {number(gradient)} of it. "
            "Raise the learning rate, or look at its schedule",
            f"keras.optimizers.{optimizer}(learning_rate={number(better)})",
            evidence={
                "update_ratio": ratio,
                "threshold": limit,
                "gradient_ratio": gradient,
                "learning_rate": rate,
            },
            confidence=0.95,
            edits=edits.learning_rate(measured, better),
        )


def _finite(history: GradientHistory) -> Array:
    """Which steps had finite gradients; loss scaling leaves the others out, at any rate."""
    bad: Array = np.nan_to_num(history.nonfinite_share).max(axis=1, initial=0.0)
    return bad <= 0


def _highest(ratios: Array) -> float:
    """The highest ratio of the last half of the steps."""
    late = ratios[len(ratios) // 2 :]
    return float(late[np.isfinite(late)].max(initial=0.0))


def _sizeable(measured: Measurements, history: GradientHistory, limits: Thresholds) -> list[int]:
    """The matrices whose gradients are no excuse: large, or taken by a step of the rate alone."""
    large = gradients_to_weights(history) >= limits["gradient"]
    wiring = measured.get(Wiring)
    if wiring is not None:
        large |= gradients_in_epsilons(history, wiring) >= limits["epsilons"]
    return [i for i, is_large in zip(kernel_columns(history), large, strict=True) if is_large]
