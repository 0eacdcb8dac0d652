"""SD205: one layer's weights move out of all proportion to those of the others."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds, source_of
from saldiag.core.measurement import Array, GradientHistory, Measurements, OverfitHistory
from saldiag.rules.shared.update_ratios import course_of, kernel_columns
from saldiag.rules.shared.wording import at, label, number
from saldiag.rules.verdicts.overfit import verdict_of


class OneLayerDominates(Rule):
    """The first steps throw away one layer's weights, and hardly move those of all others.

    ## What it does
    Takes |Δw| / |w| of the first recorded steps for each matrix of weights. Speaks up where, in
    the first step with a large one, it is as large as the weights themselves and many times that
    of every other matrix, the loss does not come down (or only in part, after it rose to many times
    its start), and the overfit test does not show that the model learns. Matrices that start at or
    near 0 are left out (their first ratio says nothing), and so are models with fewer than three;
    steps that are too large everywhere are left to learning-rate-too-high.

    ## Why is this bad
    No learning rate suits both: one that is right for the rest destroys this layer, one that is
    right for this layer moves nothing else. It tells of a factor that only one layer has: on its
    gradient, its input, or its output.

    ## Example
    ```python
    gradients[0] = 1e4 * gradients[0]
    optimizer.apply(gradients, model.trainable_variables)
    ```

    ## Use instead
    ```python
    optimizer.apply(gradients, model.trainable_variables)
    ```

    ## Threshold
    - `times` = 100: largest |Δw| / |w| over that of the next matrix. Layers of healthy networks lie
      far apart as well, but next to each other: |w| / |g| spans 5.8 to 1345 over all of AlexNet
      (You, Gitman & Ginsburg, Large Batch Training of Convolutional Networks, 2017, section 4).
    - `ratio` = 0.5: |Δw| / |w| of the largest; about 1e-3 is healthy (Karpathy, CS231n, 2015).
    - `first` = 10: recorded steps that count as the first.
    - `matrices` = 3: fewest matrices of weights to compare.
    - `start` = 0.01: size of its weights in the mean, as a share of the others', below which a
      matrix starts near 0.
    - `end` = 0.9: loss of the last quarter over that of the first step, from which on nothing was
      learnt.
    - `rise` = 5: highest loss over that of the first step, from which on the step has thrown away
      what the model was, even if some of it is learnt again. It is our own choice, well above the
      1.5 of learning-rate-too-high.
    """

    code = "SD205"
    name = "one-layer-dominates"
    severity = "error"
    requires = (GradientHistory,)
    thresholds = {
        "times": 100, "ratio": 0.5, "first": 10, "matrices": 3, "start": 0.01, "end": 0.9,
        "rise": 5,
    }  # fmt: skip
    explains = {
        "SD201": "anywhere", "SD202": "anywhere", "SD203": "anywhere", "SD204": "anywhere",
        "SD301": "anywhere", "SD302": "anywhere", "SD303": "anywhere", "SD402": "anywhere",
        "SD701": "anywhere", "SD801": "anywhere",
    }  # fmt: skip

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        history = measured.need(GradientHistory)
        columns = _columns(history, limits["start"])
        if len(columns) < limits["matrices"]:
            return
        ratios = history.update_ratio[: int(limits["first"]), columns]
        ratios = _first_large(np.where(np.isfinite(ratios), ratios, 0.0), limits["ratio"])
        order = np.argsort(ratios)
        largest, second = float(ratios[order[-1]]), float(ratios[order[-2]])
        if not 0 < limits["times"] * second <= largest or second >= limits["ratio"]:
            return
        if verdict_of(measured.get(OverfitHistory))[0] == "learns":
            return
        course = course_of(measured, history)
        falls = course.finite and course.end < limits["end"] * course.start
        if falls and course.highest < limits["rise"] * course.start:
            return
        layer = history.variables[columns[order[-1]]].layer
        came = (
            f"rises from {number(course.start)} to {number(course.highest)} before it comes down"
            if falls
            else "does not come down"
        )
        yield self._dominates(measured, layer, (largest, second), came, limits["times"])

    def _dominates(
        self,
        measured: Measurements,
        layer: str,
        ratios: tuple[float, float],
        came: str,
        limit: float,
    ) -> Finding:
        largest, second = ratios
        source = source_of(measured, layer)
        return self.finding(
            f"{label(layer)}: one of the first steps moves its weights by {number(largest)} of "
            f"their size, {number(largest / second)} times as far as those of any other layer "
            f"(threshold {number(limit)}), and the loss {came}. Find the factor on "
            f"its gradient, input or output{at(source)}",
            "global_clipnorm=1.0  # in the optimizer, until the factor is found",
            layers=(layer,),
            evidence={
                "update_ratio": largest,
                "next_ratio": second,
                "times": largest / second,
                "threshold": limit,
            },
            source=source,
            confidence=0.9,
        )


def _columns(history: GradientHistory, start: float) -> list[int]:
    """The matrices of weights but those that start at or near 0, or never get a gradient."""
    kernels = [i for i in kernel_columns(history) if len(history.variables[i].shape) > 1]
    if not kernels or not len(history.steps):
        return []
    sizes = np.array([float(np.prod(history.variables[i].shape)) for i in kernels])
    means = np.nan_to_num(history.weight_norm[0, kernels]) / np.sqrt(sizes)
    usual = float(np.median(means))
    return [i for i, mean in zip(kernels, means, strict=True) if mean > start * usual]


def _first_large(ratios: Array, ratio: float) -> Array:
    """The first step with a large ratio: the others follow once one layer is thrown away."""
    large = np.flatnonzero(ratios.max(axis=1) >= ratio)
    step: Array = ratios[large[0]] if len(large) else np.zeros(ratios.shape[1])
    return step
