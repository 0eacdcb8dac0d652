"""SD710: a metric stays constant while the model learns."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds
from saldiag.core.measurement import Measurements, OverfitHistory, TrainingHistory
from saldiag.core.wording import counted, label, number
from saldiag.rules.verdicts.overfit import verdict_of

ACCURACY = re.compile(r"accuracy|(?<![a-z])acc(?![a-z])", re.IGNORECASE)
"""Matches *acc* only as a separate word: macro_f1 and jaccard contain it too."""

SCORE = re.compile(
    rf"{ACCURACY.pattern}|io_?u|auc|precision|recall|dice|jaccard|f_?1", re.IGNORECASE
)
"""Metrics that change when predictions change."""

Array = np.ndarray[Any, Any]


class MetricThatCannotMove(Rule):
    """The model learns, but a metric never changes.

    ## What it does
    In a training, checks the metrics that `fit` reports for training and for validation, and,
    without validation, scores such as accuracy, IoU, AUC, precision or recall. Reports a metric
    that has the same value in every epoch while the loss falls.

    In the overfit test, checks the compiled metrics whose name contains *accuracy* or the word
    *acc*. Reports such a metric if the test shows that the model learns but the metric has the same
    value, below 1, at every step.

    ## Why is this bad
    The metric measures something else: accuracy counts predictions that equal the target, which
    never happens in a regression or with soft labels. Someone who watches it assumes that the model
    doesn't learn, or stops the training early.

    ## Example
    ```python
    model.compile(loss="mse", metrics=["accuracy"])  # prices, temperatures
    ```

    ## Use instead
    ```python
    model.compile(loss="mse", metrics=["mae"])
    ```

    ## Threshold
    - `steps` = 20: fewest steps of the overfit test with a constant metric.
    - `steps_at_zero` = 8: the same for a metric that is constantly 0. Some memorised samples are
      predicted correctly, so a metric that counts none of them cannot count them at all; a model
      that learns fast takes only a few steps.
    - `epochs` = 4: fewest epochs of a training with a constant metric.
    - `fell` = 0.1: share by which the loss fell meanwhile. This and `epochs` are our own choice.
    - `below` = 0.999: value from which on the metric cannot improve. Memorising means that the
      memorised samples are predicted correctly (Goodfellow, Bengio & Courville, Deep Learning,
      2016, section 11.5).
    """

    code = "SD710"
    name = "metric-that-cannot-move"
    severity = "warning"
    requires = ()
    thresholds = {"steps": 20, "steps_at_zero": 8, "epochs": 4, "fell": 0.1, "below": 0.999}
    explains = {"SD712": "anywhere"}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        trained, tested = measured.get(TrainingHistory), measured.get(OverfitHistory)
        found = list(self._in_training(trained, limits)) if trained is not None else []
        yield from found
        if tested is not None:
            names = {finding.evidence["metric"] for finding in found}
            yield from (
                finding
                for finding in self._in_the_test(tested, limits)
                if finding.evidence["metric"] not in names
            )
        elif trained is None:
            raise CannotJudge(measured.reason(OverfitHistory))

    def _in_training(self, history: TrainingHistory, limits: Thresholds) -> Iterable[Finding]:
        values = dict(zip(history.names, np.atleast_2d(history.values), strict=True))
        loss = values.get("loss", np.zeros(0))
        if len(loss) < limits["epochs"] or not np.isfinite(loss).all():
            return
        if not float(loss[0] - loss[-1]) > limits["fell"] * abs(float(loss[0])):
            return
        for name, curve in values.items():
            held = values.get(f"val_{name}")
            if name.startswith("val_") or name.endswith("loss"):
                continue
            if held is None and not SCORE.search(name):
                continue  # a custom log may be constant on purpose
            validated = curve if held is None else held[np.isfinite(held)]
            is_constant = len(validated) and not np.ptp(curve) and not np.ptp(validated)
            if is_constant and np.isfinite(curve).all() and float(validated[-1]) < limits["below"]:
                yield self._constant_in_training(name, curve, held, loss, limits)

    def _constant_in_training(
        self, name: str, curve: Array, held: Array | None, loss: Array, limits: Thresholds
    ) -> Finding:
        value = number(float(curve[0]))
        constant = (
            f"{value} in training and {number(float(held[-1]))} in validation"
            if (held is not None)
            else value
        )
        return self.finding(
            f"{label(name)} is {constant} in all {len(curve)} epochs (threshold "
            f"{number(limits['epochs'])}), while the loss fell from {number(float(loss[0]))} to "
            f"{number(float(loss[-1]))}: it does not measure what the model predicts",
            'Use a metric that measures what the model predicts, such as metrics=["mae"]',
            evidence={
                "metric": name,
                "value": float(curve[0]),
                "epochs": len(curve),
                "threshold": limits["epochs"],
            },
            confidence=0.9,
        )

    def _in_the_test(self, history: OverfitHistory, limits: Thresholds) -> Iterable[Finding]:
        columns = [i for i, name in enumerate(history.metric_names) if ACCURACY.search(name)]
        if not columns:
            return
        taken = len(history.metric_values)
        at_zero = [i for i in columns if not history.metric_values[:, i].any()]
        if taken < limits["steps"]:
            columns = at_zero
        needed = limits["steps_at_zero" if at_zero else "steps"]
        if taken < needed:
            raise CannotJudge(f"{counted(taken, 'step')} taken, needs {needed:.0f}")
        if verdict_of(history)[0] != "learns":
            return
        for column in columns:
            values = history.metric_values[:, column]
            first = float(values[0])
            if np.isfinite(values).all() and not np.ptp(values) and first < limits["below"]:
                yield self._constant_in_the_test(history, column, first, limits["below"])

    def _constant_in_the_test(
        self, history: OverfitHistory, column: int, value: float, limit: float
    ) -> Finding:
        name = label(history.metric_names[column])
        start, end = (float(history.training_error[i]) for i in (0, -1))
        return self.finding(
            f"{name} is {number(value)} (threshold {number(limit)}) in all "
            f"{counted(len(history.loss), 'step')}, while the error falls from {number(start)} to "
            f"{number(end)}: it does not measure what the model predicts. Use a metric that does",
            'model.compile(loss="mse", metrics=["mae"])',
            evidence={
                "metric": history.metric_names[column],
                "value": value,
                "threshold": limit,
                "steps": len(history.loss),
            },
            confidence=0.9,
        )
