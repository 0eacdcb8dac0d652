"""SD606: one of two classes makes up nearly all of the targets."""

from __future__ import annotations

import math
from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds
from saldiag.core.measurement import DataFacts, Measurements, TensorFacts, Wiring
from saldiag.rules.shared.wording import label, number, percent


class ClassImbalance(Rule):
    """Nearly all targets are of one class, so that a constant prediction seems to be good.

    ## What it does
    Takes the share of the rarer of two values in targets of 0 and 1 (labels, or pixels of masks),
    and tells what a constant prediction costs. One-hot targets of many classes are rare in every
    element, and left alone. It is a note: many data sets are so, and models learn from them.

    ## Why is this bad
    Accuracy and a plain mean loss hardly see the rare class: a model that always says no is right
    nearly always, and a low loss does not mean that anything was learnt.

    ## Example
    ```python
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    model.fit(x, y)  # one in a thousand is positive
    ```

    ## Use instead
    ```python
    model.compile("adam", "binary_focal_crossentropy", metrics=[keras.metrics.AUC(curve="PR")])
    model.fit(x, y, class_weight={0: 1.0, 1: 100.0})
    ```

    ## Threshold
    - `share` = 0.02: share of the rarer value, so that a constant is right in 98 % (He & Garcia,
      Learning from Imbalanced Data, 2009, section 2, speak of imbalance from 100:1 on).
    - `min_values` = 200: fewest values to tell.
    """

    code = "SD606"
    name = "class-imbalance"
    severity = "info"
    requires = (Wiring, DataFacts)
    thresholds = {"share": 0.02, "min_values": 200}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        facts = measured.need(DataFacts)
        if not facts.targets:
            raise CannotJudge("no targets were seen")
        if "sparse" in measured.need(Wiring).loss:
            return
        for target in facts.targets:
            values = _values(target, facts.samples)
            rare = min(target.mean, 1 - target.mean)
            if _is_binary(target) and values >= limits["min_values"] and rare < limits["share"]:
                yield self._imbalance(target, facts, rare, limits["share"])

    def _imbalance(
        self, target: TensorFacts, facts: DataFacts, rare: float, limit: float
    ) -> Finding:
        cost = facts.baselines.constant if facts.baselines is not None else math.nan
        costs = f" and costs a loss of {number(cost)}" if math.isfinite(cost) else ""
        value = 1 if target.mean < 0.5 else 0
        return self.finding(
            f"{label(target.name)}: {percent(rare)} of the values are {value} (threshold "
            f"{percent(limit)}); saying {1 - value} of everything is right in "
            f"{percent(1 - rare)}{costs}. Weigh the classes, and judge by precision and recall",
            "model.fit(x, y, class_weight={0: 1.0, 1: 100.0})",
            evidence={"share": rare, "value": value, "constant_loss": cost, "threshold": limit},
        )


def _is_binary(target: TensorFacts) -> bool:
    both = target.minimum == 0 and target.maximum == 1 and target.distinct == 2
    return both and (len(target.shape) == 1 or target.shape[-1] == 1)


def _values(target: TensorFacts, samples: int) -> int:
    return samples * math.prod(size or 1 for size in target.shape[1:])
