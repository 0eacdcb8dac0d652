"""SD606: one of two classes makes up nearly all targets."""

from __future__ import annotations

import math
from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds
from saldiag.core.measurement import DataFacts, Measurements, TensorFacts, Wiring
from saldiag.core.wording import label, number, percent


class ClassImbalance(Rule):
    """Nearly all targets belong to one class, and a constant prediction looks good.

    ## What it does
    Measures the share of the rarer value in targets of 0 and 1 (labels, or pixels of masks), and
    reports the loss of a constant prediction. One-hot targets of many classes are not judged,
    because 1 is rare in each of their elements. The finding is a note: many datasets are
    imbalanced, and models learn from them.

    ## Why is this bad
    Accuracy and a plain mean loss barely depend on the rare class. A model that always predicts the
    common class is nearly always right, and a low loss does not show that the model learnt
    anything.

    ## Example
    ```python
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    model.fit(x, y)  # one in a thousand labels is positive
    ```

    ## Use instead
    ```python
    model.compile("adam", "binary_focal_crossentropy", metrics=[keras.metrics.AUC(curve="PR")])
    model.fit(x, y, class_weight={0: 1.0, 1: 100.0})
    ```

    ## Threshold
    - `share` = 0.02: share of the rarer value. At this share, a constant prediction is right for
      98 % of the values (He & Garcia, Learning from Imbalanced Data, 2009, section 2, name
      imbalances of 100:1 and more).
    - `min_values` = 200: minimum number of values.
    """

    code = "SD606"
    name = "class-imbalance"
    severity = "info"
    requires = (Wiring, DataFacts)
    thresholds = {"share": 0.02, "min_values": 200}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        facts = measured.need(DataFacts)
        if not facts.targets:
            raise CannotJudge("no targets were measured")
        if "sparse" in measured.need(Wiring).loss:
            return
        for target in facts.targets:
            count = _value_count(target, facts.samples)
            rare = min(target.mean, 1 - target.mean)
            if (
                _is_single_binary_value(target)
                and count >= limits["min_values"]
                and rare < limits["share"]
            ):
                yield self._imbalance_finding(target, facts, rare, limits["share"])

    def _imbalance_finding(
        self, target: TensorFacts, facts: DataFacts, rare: float, limit: float
    ) -> Finding:
        cost = facts.baselines.constant if facts.baselines is not None else math.nan
        loss = f", with a loss of {number(cost)}" if math.isfinite(cost) else ""
        value = 1 if target.mean < 0.5 else 0
        return self.finding(
            f"{label(target.name)}: {percent(rare)} of the values are {value} (threshold "
            f"{percent(limit)}); always predicting {1 - value} is right for "
            f"{percent(1 - rare)}{loss}. Weight the classes, and evaluate precision and recall",
            "model.fit(x, y, class_weight={0: 1.0, 1: 100.0})",
            evidence={"share": rare, "value": value, "constant_loss": cost, "threshold": limit},
        )


def _is_single_binary_value(target: TensorFacts) -> bool:
    """Whether each element of the target is 0 or 1, in one channel, and both occur."""
    both = target.minimum == 0 and target.maximum == 1 and target.distinct == 2
    return both and (len(target.shape) == 1 or target.shape[-1] == 1)


def _value_count(target: TensorFacts, samples: int) -> int:
    """Number of target values in ``samples`` samples; axes of unknown size count as 1."""
    return samples * math.prod(size or 1 for size in target.shape[1:])
