"""SD702: the steps are too small to change the weights."""

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
from saldiag.core.wording import number
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
from saldiag.rules.verdicts.overfit import verdict_of

DEFAULT_LEARNING_RATE = 1e-3
"""Keras' default for Adam; used where no range test found a better rate."""


class LearningRateTooLow(Rule):
    """The optimizer's steps do not move the weights, although the gradients are not small.

    ## What it does
    Takes the update-to-weight ratio |Δw| / |w| of the steps actually taken (median over the weight
    matrices). Reports a model if every step of the second half is tiny, also over only those
    matrices whose gradients are not small relative to the weights (small gradients have other
    causes), the learning rate does not rise (a warm-up), and the overfit test does not show that
    the model learns. Steps with a non-finite gradient, which loss scaling skips, do not count.

    ## Why is this bad
    Training takes a thousand times as long as necessary, or has no effect at all: the rate is
    mistyped, or a schedule has ended.

    ## Example
    ```python
    optimizer = keras.optimizers.Adam(1e-9)
    ```

    ## Use instead
    ```python
    optimizer = keras.optimizers.Adam(1e-3)
    ```

    ## Threshold
    - `ratio` = 1e-6: |Δw| / |w| of one step. About 1e-3 is healthy (Karpathy, CS231n: Neural
      Networks Part 3, 2015, "Ratio of weights:updates"); a thousandth of that is tolerated.
    - `gradient` = 1e-4: |g| / |w|, from which on a matrix's gradient is not small.
    - `epsilons` = 100: largest gradient over the optimizer's epsilon, from which on the step size
      of Adam and similar optimizers depends only on the learning rate (Kingma & Ba, Adam, 2015,
      section 2.1).
    - `min_steps` = 10: fewest recorded steps; fewer can be the start of a warm-up.
    - `rise` = 1.5: ratio of the last quarter of the steps over that of the first, above which the
      learning rate is still warming up.
    """

    code = "SD702"
    name = "learning-rate-too-low"
    severity = "error"
    requires = (GradientHistory,)
    compares_losses = True
    thresholds = {"ratio": 1e-6, "gradient": 1e-4, "epsilons": 100, "min_steps": 10, "rise": 1.5}
    explains = {"SD801": "anywhere"}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        history = measured.need(GradientHistory)
        kept = _steps_with_finite_gradients(history)
        ratios = step_ratios(history)[kept]
        ratios = ratios[np.isfinite(ratios)]
        if len(ratios) < limits["min_steps"]:
            raise CannotJudge(
                f"needs at least {limits['min_steps']:.0f} recorded steps with finite gradients, "
                f"got {len(ratios)}"
            )
        highest = _highest_late_ratio(ratios)
        first, last = first_and_last_quarter(ratios)
        if highest >= limits["ratio"] or last > limits["rise"] * first:
            return
        large_columns = _columns_with_large_gradients(measured, history, limits)
        if (
            not large_columns
            or _highest_late_ratio(step_ratios(history, large_columns)[kept]) >= limits["ratio"]
        ):
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
        better = found if found > rate else DEFAULT_LEARNING_RATE
        optimizer = name if name.isidentifier() else "Adam"
        return self.finding(
            f"{name}{rated} reaches an update-to-weight ratio of at most {number(ratio)} "
            f"(threshold {number(limit)}), although the gradient-to-weight ratio is "
            f"{number(gradient)}. Raise the learning rate, or check its schedule",
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


def _steps_with_finite_gradients(history: GradientHistory) -> Array:
    """Mask of the steps with finite gradients; loss scaling skips the others."""
    bad: Array = np.nan_to_num(history.nonfinite_share).max(axis=1, initial=0.0)
    return bad <= 0


def _highest_late_ratio(ratios: Array) -> float:
    """The highest finite ratio of the second half of the steps."""
    late = ratios[len(ratios) // 2 :]
    return float(late[np.isfinite(late)].max(initial=0.0))


def _columns_with_large_gradients(
    measured: Measurements, history: GradientHistory, limits: Thresholds
) -> list[int]:
    """Columns of the weight matrices whose gradients do not explain small steps.

    They are large relative to the weights, or the optimizer's step does not depend on their size.
    """
    large = gradients_to_weights(history) >= limits["gradient"]
    wiring = measured.get(Wiring)
    if wiring is not None:
        large |= gradients_in_epsilons(history, wiring) >= limits["epsilons"]
    return [i for i, is_large in zip(kernel_columns(history), large, strict=True) if is_large]
