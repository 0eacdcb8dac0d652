"""SD701: the steps are so large that the loss jumps and never recovers."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds
from saldiag.core.measurement import (
    GradientFlow,
    GradientHistory,
    Measurements,
    OverfitHistory,
)
from saldiag.core.wording import number
from saldiag.rules.gradients._depth import depth_trend
from saldiag.rules.gradients.sd203_exploding_gradients import ExplodingGradients
from saldiag.rules.shared import edits
from saldiag.rules.shared.update_ratios import Course, course_of, optimizer_and_rate, step_ratios
from saldiag.rules.verdicts.overfit import verdict_of


class LearningRateTooHigh(Rule):
    """The optimizer's steps are as large as the weights, and the loss jumps and does not recover.

    ## What it does
    Takes the update-to-weight ratio |Δw| / |w| of the first recorded steps (median over the weight
    matrices) and the losses of all steps. Reports large steps only if the loss also jumped above
    its first value (or became non-finite), ended no lower than it began, and the overfit test does
    not show that the model learns. Gradients that already explode through the layers before the
    first step are left to exploding-gradients.

    ## Why is this bad
    The gradient is valid only for small steps. After a large step, units die, outputs saturate, or
    the loss grows until it is NaN.

    ## Example
    ```python
    optimizer = keras.optimizers.Adam(3.0)
    ```

    ## Use instead
    ```python
    optimizer = keras.optimizers.Adam(1e-3)
    ```

    ## Threshold
    - `ratio` = 0.5: |Δw| / |w| of the largest of the first steps. About 1e-3 is healthy (Karpathy,
      CS231n: Neural Networks Part 3, 2015, "Ratio of weights:updates"); Adam's first step in a wide
      layer reaches 0.2 at a learning rate of 0.01.
    - `first` = 10: recorded steps that count as the first. Later steps have a lower ratio, because
      too large steps make the weights grow.
    - `jump` = 1.5: highest loss over the loss of the first step.
    - `end` = 0.9: loss of the last quarter over that of the first step, above which nothing was
      learned (a rate at which the loss starts to rise is too high: Smith, Cyclical Learning Rates,
      2017, section 3.3).
    """

    code = "SD701"
    name = "learning-rate-too-high"
    severity = "error"
    requires = (GradientHistory,)
    compares_losses = True
    thresholds = {"ratio": 0.5, "first": 10, "jump": 1.5, "end": 0.9}
    explains = {
        "SD201": "anywhere",
        "SD203": "anywhere",
        "SD204": "anywhere",
        "SD301": "anywhere",
        "SD302": "anywhere",
        "SD303": "anywhere",
        "SD402": "anywhere",
        "SD801": "anywhere",
    }

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        history = measured.need(GradientHistory)
        course = course_of(measured, history)
        ratios = step_ratios(history)[: int(limits["first"])]
        ratios = ratios[np.isfinite(ratios)]
        if not len(ratios):
            raise CannotJudge("no step with a finite update was recorded")
        ratio = float(ratios.max())
        jumped = not course.finite or course.highest >= limits["jump"] * course.start
        learnt = course.finite and course.end < limits["end"] * course.start
        if ratio < limits["ratio"] or not jumped or learnt:
            return
        if verdict_of(measured.get(OverfitHistory))[0] == "learns" or _explodes_in_depth(measured):
            return
        yield self._too_high(measured, ratio, course, limits["ratio"])

    def _too_high(
        self, measured: Measurements, ratio: float, course: Course, limit: float
    ) -> Finding:
        name, rate, rated = optimizer_and_rate(measured)
        lower = rate * 1e-3 / ratio if math.isfinite(rate) and rate > 0 else 1e-3
        end = "becomes NaN or infinite" if not course.finite else f"ends at {number(course.end)}"
        return self.finding(
            f"{name}{rated} reaches an update-to-weight ratio of {number(ratio)} in the first "
            f"steps (threshold {number(limit)}); the loss goes from {number(course.start)} up to "
            f"{number(course.highest)} and {end}. Lower the learning rate",
            f"optimizer.learning_rate = {number(lower)}",
            evidence={
                "update_ratio": ratio,
                "threshold": limit,
                "first_loss": course.start,
                "highest_loss": course.highest,
                "last_loss": course.end,
                "learning_rate": rate,
            },
            confidence=0.95,
            edits=edits.learning_rate(measured, lower),
        )


def _explodes_in_depth(measured: Measurements) -> bool:
    """Whether gradients explode through the layers before any step, whatever the learning rate."""
    if measured.get(GradientFlow) is None:
        return False
    limits = ExplodingGradients.thresholds
    try:
        trend = depth_trend(measured, limits["min_layers"])
    except CannotJudge:
        return False
    return -trend.decades >= limits["decades"] and -trend.tau >= limits["tau"]
