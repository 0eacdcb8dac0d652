"""SD205: the weights of one layer change far more than those of the others."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds, source_of
from saldiag.core.measurement import Array, GradientHistory, Measurements, OverfitHistory
from saldiag.core.wording import at_line, label, number
from saldiag.rules.shared.update_ratios import course_of, kernel_columns
from saldiag.rules.verdicts.overfit import verdict_of


class OneLayerDominates(Rule):
    """The first steps overwrite the weights of one layer and barely change those of the others.

    ## What it does
    Takes the update-to-weight ratio |Δw| / |w| of each weight matrix in the first recorded steps.
    The first step with a large ratio counts. A layer is reported if its ratio at that step is many
    times that of every other matrix, the loss doesn't fall (or falls only in part, after rising to
    many times its first value), and the model doesn't learn in the overfit test. Matrices that
    start at or near 0 are ignored, because their first ratio means nothing, and so are models with
    fewer than three matrices. Steps that are too large in every layer are reported by
    learning-rate-too-high.

    ## Why is this bad
    No learning rate fits both: one that suits the other layers destroys this one, and one that
    suits this layer leaves the others where they are. Usually a factor on the gradient, the input
    or the output of this one layer is the cause.

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
    - `times` = 100: largest |Δw| / |w| over the second largest. In healthy networks the ratios
      differ too, but the two largest are close: |w| / |g| spans 5.8 to 1345 over all of AlexNet
      (You, Gitman & Ginsburg, Large Batch Training of Convolutional Networks, 2017, section 4).
    - `ratio` = 0.5: smallest |Δw| / |w| that counts as large; about 1e-3 is healthy (Karpathy,
      CS231n, 2015).
    - `first` = 10: recorded steps that count as the first.
    - `matrices` = 3: fewest weight matrices to compare.
    - `start` = 0.01: root mean square of a matrix at the first step, as a share of the median over
      all matrices, below which it starts near 0.
    - `end` = 0.9: loss of the last quarter over that of the first step, from which on the model has
      learned nothing.
    - `rise` = 5: highest loss over that of the first step, from which on the step has destroyed
      what the model was, even if it recovers in part (our choice, well above the 1.5 of
      learning-rate-too-high).
    """

    code = "SD205"
    name = "one-layer-dominates"
    severity = "error"
    requires = (GradientHistory,)
    compares_losses = True
    thresholds = {
        "times": 100,
        "ratio": 0.5,
        "first": 10,
        "matrices": 3,
        "start": 0.01,
        "end": 0.9,
        "rise": 5,
    }
    explains = {
        "SD201": "anywhere",
        "SD202": "anywhere",
        "SD203": "anywhere",
        "SD204": "anywhere",
        "SD301": "anywhere",
        "SD302": "anywhere",
        "SD303": "anywhere",
        "SD402": "anywhere",
        "SD701": "anywhere",
        "SD801": "anywhere",
    }

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        history = measured.need(GradientHistory)
        columns = _comparable_columns(history, limits["start"])
        if len(columns) < limits["matrices"]:
            return
        ratios = history.update_ratio[: int(limits["first"]), columns]
        ratios = _first_large_ratios(np.where(np.isfinite(ratios), ratios, 0.0), limits["ratio"])
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
        course_text = (
            f"rises from {number(course.start)} to {number(course.highest)} before it falls"
            if falls
            else "does not fall"
        )
        yield self._finding_of_layer(
            measured, layer, (largest, second), course_text, limits["times"]
        )

    def _finding_of_layer(
        self,
        measured: Measurements,
        layer: str,
        ratios: tuple[float, float],
        course_text: str,
        limit: float,
    ) -> Finding:
        largest, second = ratios
        source = source_of(measured, layer)
        return self.finding(
            f"{label(layer)}: one of the first steps has an update-to-weight ratio of "
            f"{number(largest)} here, {number(largest / second)} times that of any other layer "
            f"(threshold {number(limit)}), and the loss {course_text}. Find the factor on its "
            f"gradient, input or output{at_line(source)}",
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


def _comparable_columns(history: GradientHistory, start: float) -> list[int]:
    """Columns of the weight matrices, without those that start near 0 or never get a gradient.

    A matrix starts near 0 if its root mean square is at most ``start`` times the median of all.
    """
    kernels = [i for i in kernel_columns(history) if len(history.variables[i].shape) > 1]
    if not kernels or not len(history.steps):
        return []
    sizes = np.array([float(np.prod(history.variables[i].shape)) for i in kernels])
    means = np.nan_to_num(history.weight_norm[0, kernels]) / np.sqrt(sizes)
    usual = float(np.median(means))
    return [i for i, mean in zip(kernels, means, strict=True) if mean > start * usual]


def _first_large_ratios(ratios: Array, ratio: float) -> Array:
    """The ratios of the first step where one is large; zeros if there is no such step.

    ``ratios`` has shape (steps, matrices). After that step the other matrices change a lot, too.
    """
    large = np.flatnonzero(ratios.max(axis=1) >= ratio)
    step: Array = ratios[large[0]] if len(large) else np.zeros(ratios.shape[1])
    return step
