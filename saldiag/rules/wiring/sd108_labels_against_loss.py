"""SD108: targets of a shape or kind that the loss sets against the wrong predictions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds
from saldiag.core.measurement import (
    DataFacts,
    LossCheck,
    Measurements,
    ProgramError,
    TensorFacts,
    Wiring,
)
from saldiag.rules.shared import edits
from saldiag.rules.shared.error_messages import OF_LABELS, meaning_of
from saldiag.rules.shared.graph import Network
from saldiag.rules.shared.output_heads import RANGES, from_logits
from saldiag.rules.shared.wording import label, number

BY_ELEMENT = frozenset({
    "huber", "log_cosh", "mean_absolute_error", "mean_absolute_percentage_error",
    "mean_squared_error", "mean_squared_logarithmic_error", "poisson",
})  # fmt: skip
"""Keras' losses that subtract predictions and targets, and so stretch the smaller of the two."""

Shape = tuple[int | None, ...]


class LabelsAgainstLoss(Rule):
    """The loss compares predictions with targets that are not theirs.

    ## What it does
    Brings the shapes of target and prediction together as Keras 3's losses do (an axis of size 1 at
    the end is dropped or added), and looks whether one of them is then stretched to fit the other.
    For a loss of the user's own, which nobody brings together, it takes the loss with the targets
    handed on to the next sample: a loss that stays the same to the last digit compares every sample
    with all targets. Under a cross-entropy from logits the targets must lie within [0, 1] (with a
    sigmoid or softmax that is SD602's). Where Keras refuses the targets by an error, it tells what
    that means; of the user's own program that is SD904's.

    ## Why is this bad
    Three outputs set against one class number learn to predict that number, three times; (n, 1)
    against (n,) makes n x n differences, and the best prediction is the mean for every sample; a
    cross-entropy with targets outside [0, 1] has no lowest value.

    ## Example
    ```python
    model = keras.Sequential([keras.layers.Dense(3, activation="softmax")])
    model.compile(loss="mse")  # for class numbers of shape (n, 1)
    ```

    ## Use instead
    ```python
    model = keras.Sequential([keras.layers.Dense(3, activation="softmax")])
    model.compile(loss="sparse_categorical_crossentropy")
    ```

    ## Threshold
    - `rounding` = 1e-5: difference of the losses with targets in order and handed on, as a share of
      the larger, that is rounding: a sum of some hundred numbers in float32 (2^-24 each; IEEE 754,
      2019).
    - `variation` = 0.01: spread of the predictions, as a share of the targets', below which their
      order makes too little difference to tell.
    """

    code = "SD108"
    name = "labels-against-loss"
    severity = "error"
    by_loss = True
    requires = (Wiring, DataFacts)
    thresholds = {"rounding": 1e-5, "variation": 0.01}
    explains = {
        "SD103": "anywhere", "SD204": "anywhere", "SD302": "anywhere", "SD602": "anywhere",
        "SD801": "anywhere", "SD802": "anywhere", "SD804": "anywhere", "SD807": "anywhere",
    }  # fmt: skip

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        wiring, facts = measured.need(Wiring), measured.need(DataFacts)
        # Which of several losses it was, the error does not say: it is told once.
        if not wiring.losses or wiring.losses[0].outputs == wiring.judged:
            yield from self._refused(wiring, measured.get(ProgramError))
        if len(facts.targets) != len(facts.predictions):
            raise CannotJudge(
                f"{len(facts.predictions)} outputs and {len(facts.targets)} targets: "
                "cannot be paired"
            )
        for target, predicted in zip(facts.targets, facts.predictions, strict=True):
            if wiring.loss in BY_ELEMENT and _stretched(target.shape, predicted.shape):
                yield self._stretched(measured, target, predicted)
            elif _outside(wiring, target):
                yield self._outside(wiring, target)
        if _ignores_order(measured, facts, limits):
            yield self._ignores_order(measured, facts, limits)

    def _refused(self, wiring: Wiring, ended: ProgramError | None) -> Iterable[Finding]:
        """What Keras does not let the loss compare at all."""
        if ended is None or ended.during == "program":
            return
        found = meaning_of(ended.error, ended.message)
        if found is None or found[0].key not in OF_LABELS:
            return
        meaning, values = found
        heads = Network(wiring).heads()
        loss = "+".join(each.loss for each in wiring.losses) or wiring.loss
        yield self.finding(
            f"{label(loss)} refuses the targets: {meaning.says.format_map(values)}",
            meaning.fix.format_map(values),
            layers=tuple(head.layer for head in heads),
            evidence={**values, "error": ended.error, "kind": meaning.key},
            source=heads[0].source if len(heads) == 1 else None,
        )

    def _stretched(
        self, measured: Measurements, target: TensorFacts, predicted: TensorFacts
    ) -> Finding:
        wiring = measured.need(Wiring)
        sparse = (predicted.shape[-1] or 0) > 1 and target.shape[-1] == 1
        classes = sparse and target.distinct <= (predicted.shape[-1] or 0)
        return self.finding(
            f"{label(wiring.loss)} of predictions {_shape(predicted)} and targets "
            f"{_shape(target)} stretches the smaller to fit the larger (threshold: equal shapes). "
            "Give both the same shape",
            'loss="sparse_categorical_crossentropy"  # if the targets are class numbers'
            if classes
            else f"y = y.reshape(...)  # or a last layer that gives {_shape(target)}",
            evidence={
                "target": target.shape,
                "prediction": predicted.shape,
                "threshold": 0.0,
            },
            edits=_sparse(measured, target, predicted) if classes else (),
        )

    def _outside(self, wiring: Wiring, target: TensorFacts) -> Finding:
        return self.finding(
            f"{label(wiring.loss)} takes targets in [0, 1]; these run from "
            f"{number(target.minimum)} to {number(target.maximum)} (threshold 0 … 1). "
            "Turn them into 0 and 1, or use a loss for class numbers",
            'loss="sparse_categorical_crossentropy"  # or y = (y > 0).astype("float32")',
            evidence={
                "minimum": target.minimum,
                "maximum": target.maximum,
                "threshold": 1.0,
            },
        )

    def _ignores_order(
        self, measured: Measurements, facts: DataFacts, limits: Thresholds
    ) -> Finding:
        check = measured.need(LossCheck)
        return self.finding(
            f"{label(check.loss)} is {number(check.in_order)} with each sample's own target, and "
            f"the same with its neighbour's (threshold {number(limits['rounding'])} of it): "
            f"predictions {_shape(facts.predictions[0])} and targets {_shape(facts.targets[0])} "
            "are compared all with all. Give both the same shape",
            "y_true = keras.ops.reshape(y_true, keras.ops.shape(y_pred))  # in the loss",
            evidence={
                "in_order": check.in_order,
                "rolled": check.rolled,
                "threshold": limits["rounding"],
            },
            confidence=0.95,
        )


def _sparse(measured: Measurements, target: TensorFacts, predicted: TensorFacts) -> edits.Edits:
    """The loss for class numbers, where one softmax is set against whole numbers of its classes."""
    heads = Network(measured.need(Wiring)).heads()
    one = [head.activation for head in heads] == ["softmax"]
    inside = target.minimum == 0 and target.maximum == (predicted.shape[-1] or 0) - 1
    whole = target.distinct == predicted.shape[-1]
    return (
        edits.loss(measured, "sparse_categorical_crossentropy") if one and inside and whole else ()
    )


def _shape(facts: TensorFacts) -> str:
    return f"({', '.join('n' if size is None else str(size) for size in facts.shape)})"


def _stretched(target: Shape, predicted: Shape) -> bool:
    """Whether one shape is stretched to fit the other, after what Keras' losses do."""
    one, other = _together(list(target), list(predicted))
    if len(one) != len(other) or None in (*one[1:], *other[1:]):
        return False
    return one[1:] != other[1:] and all(
        a == b or 1 in (a, b) for a, b in zip(one[1:], other[1:], strict=True)
    )


def _together(one: list[int | None], other: list[int | None]) -> Sequence[list[int | None]]:
    """Keras' ``squeeze_or_expand_to_same_rank``, on shapes."""
    longer, shorter = (one, other) if len(one) > len(other) else (other, one)
    if len(longer) == len(shorter) + 1 and longer[-1] == 1:
        if len(shorter) == 1:
            shorter.append(1)
        else:
            del longer[-1]
    return one, other


def _outside(wiring: Wiring, target: TensorFacts) -> bool:
    """Whether a cross-entropy from unbounded logits gets targets beyond 0 and 1."""
    takes_shares = wiring.loss in {"binary_crossentropy", "categorical_crossentropy"}
    bounded = any(head.activation in RANGES for head in Network(wiring).heads())
    beyond = target.minimum < 0 or target.maximum > 1
    return takes_shares and from_logits(wiring) and not bounded and beyond


def _ignores_order(measured: Measurements, facts: DataFacts, limits: Thresholds) -> bool:
    """Whether a loss of the user's own does not mind whose target it gets.

    Asked where the shapes differ by an axis of size 1 at the end; class numbers are none.
    """
    check, own = measured.get(LossCheck), measured.need(Wiring).loss.startswith("custom:")
    if not own or check is None or len(facts.targets) != 1 or len(facts.predictions) != 1:
        return False
    target, predicted = facts.targets[0], facts.predictions[0]
    same = predicted.shape == (*target.shape, 1) or target.shape == (*predicted.shape, 1)
    if not same or not predicted.std > limits["variation"] * target.std > 0:
        return False
    given, near = check.against_targets, limits["rounding"]
    others = [abs(value - given) <= near * abs(given) for value in check.against_others]
    if others and all(others):
        return False  # it does not mind the targets at all: SD708
    apart = abs(check.in_order - check.rolled)  # nan where it was not measured
    return apart <= near * max(abs(check.in_order), abs(check.rolled))
