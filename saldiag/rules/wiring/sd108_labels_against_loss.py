"""SD108: the shape or kind of the targets doesn't fit the loss."""

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
from saldiag.core.wording import label, number
from saldiag.rules.shared import edits
from saldiag.rules.shared.error_messages import OF_LABELS, meaning_of
from saldiag.rules.shared.graph import Network
from saldiag.rules.shared.output_heads import RANGES, from_logits

BY_ELEMENT = frozenset({
    "huber", "log_cosh", "mean_absolute_error", "mean_absolute_percentage_error",
    "mean_squared_error", "mean_squared_logarithmic_error", "poisson",
})  # fmt: skip
"""Keras' losses that subtract targets from predictions, and broadcast one to the other."""

Shape = tuple[int | None, ...]


class LabelsAgainstLoss(Rule):
    """The loss compares predictions with the wrong targets.

    ## What it does
    Aligns the shapes of target and prediction as Keras 3's losses do (a last axis of size 1 is
    dropped or added), and checks whether one of them is then broadcast to the other. Custom losses
    are not aligned. Their value is computed again with each target shifted to the next sample: if
    it stays the same, the loss compares every sample with all targets. Under a cross-entropy from
    logits the targets must lie within [0, 1] (with a sigmoid or softmax output, SD602 checks that).
    If Keras rejects the targets with an error, the finding explains the error. SD904 explains
    errors that your program raises.

    ## Why is this bad
    Three outputs compared with one class number all learn to predict that number. (n, 1) against
    (n,) makes n x n differences, and the best prediction is the mean for every sample. A
    cross-entropy with targets outside [0, 1] has no minimum.

    ## Example
    ```python
    model = keras.Sequential([keras.layers.Dense(3, activation="softmax")])
    model.compile(loss="mse")  # for class indices of shape (n, 1)
    ```

    ## Use instead
    ```python
    model = keras.Sequential([keras.layers.Dense(3, activation="softmax")])
    model.compile(loss="sparse_categorical_crossentropy")
    ```

    ## Threshold
    - `rounding` = 1e-5: difference between the losses with each sample's own target and with
      shifted targets, as a share of the larger, that counts as rounding: a sum of some hundred
      numbers in float32 (2^-24 each; IEEE 754, 2019).
    - `variation` = 0.01: standard deviation of the predictions, as a share of that of the targets,
      below which the order of the targets changes the loss too little to judge.
    """

    code = "SD108"
    name = "labels-against-loss"
    severity = "error"
    by_loss = True
    requires = (Wiring, DataFacts)
    thresholds = {"rounding": 1e-5, "variation": 0.01}
    explains = {
        "SD103": "anywhere",
        "SD204": "anywhere",
        "SD302": "anywhere",
        "SD602": "anywhere",
        "SD801": "anywhere",
        "SD802": "anywhere",
        "SD804": "anywhere",
        "SD807": "anywhere",
    }

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        wiring, facts = measured.need(Wiring), measured.need(DataFacts)
        # The error doesn't say which of several losses raised it: it is reported once.
        if not wiring.losses or wiring.losses[0].outputs == wiring.judged:
            yield from self._findings_of_error(wiring, measured.get(ProgramError))
        if len(facts.targets) != len(facts.predictions):
            raise CannotJudge(
                f"the numbers of outputs ({len(facts.predictions)}) and targets "
                f"({len(facts.targets)}) differ: they cannot be paired"
            )
        for target, predicted in zip(facts.targets, facts.predictions, strict=True):
            if wiring.loss in BY_ELEMENT and _is_broadcast(target.shape, predicted.shape):
                yield self._finding_of_shapes(measured, target, predicted)
            elif _leaves_unit_interval(wiring, target):
                yield self._finding_of_range(wiring, target)
        if _ignores_order(measured, facts, limits):
            yield self._finding_of_order(measured, facts, limits)

    def _findings_of_error(self, wiring: Wiring, ended: ProgramError | None) -> Iterable[Finding]:
        """A finding if the loss rejected the targets with an error."""
        if ended is None or ended.during == "program":
            return
        found = meaning_of(ended.error, ended.message)
        if found is None or found[0].key not in OF_LABELS:
            return
        meaning, values = found
        heads = Network(wiring).heads()
        loss = "+".join(each.loss for each in wiring.losses) or wiring.loss
        yield self.finding(
            f"{label(loss)} rejects the targets: {meaning.says.format_map(values)}",
            meaning.fix.format_map(values),
            layers=tuple(head.layer for head in heads),
            evidence={**values, "error": ended.error, "kind": meaning.key},
            source=heads[0].source if len(heads) == 1 else None,
        )

    def _finding_of_shapes(
        self, measured: Measurements, target: TensorFacts, predicted: TensorFacts
    ) -> Finding:
        wiring = measured.need(Wiring)
        sparse = (predicted.shape[-1] or 0) > 1 and target.shape[-1] == 1
        classes = sparse and target.distinct <= (predicted.shape[-1] or 0)
        return self.finding(
            f"{label(wiring.loss)} compares predictions of shape {_shape_text(predicted)} with "
            f"targets of shape {_shape_text(target)}, and broadcasts one to the other (threshold: "
            "equal shapes). Give both the same shape",
            'loss="sparse_categorical_crossentropy"  # if the targets are class indices'
            if classes
            else f"Make the last layer output {_shape_text(target)}, the shape of the targets",
            evidence={
                "target": target.shape,
                "prediction": predicted.shape,
                "threshold": 0.0,
            },
            edits=_edits_to_sparse_loss(measured, target, predicted) if classes else (),
        )

    def _finding_of_range(self, wiring: Wiring, target: TensorFacts) -> Finding:
        return self.finding(
            f"{label(wiring.loss)} expects targets in [0, 1], but they range from "
            f"{number(target.minimum)} to {number(target.maximum)} (threshold 0 … 1). "
            "Convert them to 0 and 1, or use a loss for class indices",
            f'y = (y > {number((target.minimum + target.maximum) / 2)}).astype("float32")'
            if target.distinct == 2
            else 'loss="sparse_categorical_crossentropy"  # if the targets are class indices',
            evidence={
                "minimum": target.minimum,
                "maximum": target.maximum,
                "threshold": 1.0,
            },
        )

    def _finding_of_order(
        self, measured: Measurements, facts: DataFacts, limits: Thresholds
    ) -> Finding:
        check = measured.need(LossCheck)
        return self.finding(
            f"{label(check.loss)} is {number(check.in_order)} with each sample's own target, and "
            f"the same with the next sample's target (relative threshold "
            f"{number(limits['rounding'])}): it broadcasts predictions of shape "
            f"{_shape_text(facts.predictions[0])} and targets of shape "
            f"{_shape_text(facts.targets[0])}, and compares each sample with all targets. Give "
            "both the same shape",
            "y_true = keras.ops.reshape(y_true, keras.ops.shape(y_pred))  # in the loss",
            evidence={
                "in_order": check.in_order,
                "rolled": check.rolled,
                "threshold": limits["rounding"],
            },
            confidence=0.95,
        )


def _edits_to_sparse_loss(
    measured: Measurements, target: TensorFacts, predicted: TensorFacts
) -> edits.Edits:
    """The loss for class indices, if the only output is a softmax and the targets are its classes.

    The targets must hold each of the numbers 0 … classes - 1.
    """
    heads = Network(measured.need(Wiring)).heads()
    one = [head.activation for head in heads] == ["softmax"]
    inside = target.minimum == 0 and target.maximum == (predicted.shape[-1] or 0) - 1
    whole = target.distinct == predicted.shape[-1]
    return (
        edits.loss(measured, "sparse_categorical_crossentropy") if one and inside and whole else ()
    )


def _shape_text(facts: TensorFacts) -> str:
    return f"({', '.join('n' if size is None else str(size) for size in facts.shape)})"


def _is_broadcast(target: Shape, predicted: Shape) -> bool:
    """Whether one shape is broadcast to the other after Keras' losses have aligned them."""
    one, other = _aligned(list(target), list(predicted))
    if len(one) != len(other) or None in (*one[1:], *other[1:]):
        return False
    return one[1:] != other[1:] and all(
        a == b or 1 in (a, b) for a, b in zip(one[1:], other[1:], strict=True)
    )


def _aligned(one: list[int | None], other: list[int | None]) -> Sequence[list[int | None]]:
    """Keras' ``squeeze_or_expand_to_same_rank``, on shapes."""
    longer, shorter = (one, other) if len(one) > len(other) else (other, one)
    if len(longer) == len(shorter) + 1 and longer[-1] == 1:
        if len(shorter) == 1:
            shorter.append(1)
        else:
            del longer[-1]
    return one, other


def _leaves_unit_interval(wiring: Wiring, target: TensorFacts) -> bool:
    """Whether a cross-entropy from unbounded logits gets targets below 0 or above 1."""
    takes_shares = wiring.loss in {"binary_crossentropy", "categorical_crossentropy"}
    bounded = any(head.activation in RANGES for head in Network(wiring).heads())
    beyond = target.minimum < 0 or target.maximum > 1
    return takes_shares and from_logits(wiring) and not bounded and beyond


def _ignores_order(measured: Measurements, facts: DataFacts, limits: Thresholds) -> bool:
    """Whether a custom loss stays the same when each sample gets another sample's target.

    False unless the shapes differ by a last axis of size 1, which excludes class indices.
    """
    check, custom = measured.get(LossCheck), measured.need(Wiring).loss.startswith("custom:")
    if not custom or check is None or len(facts.targets) != 1 or len(facts.predictions) != 1:
        return False
    target, predicted = facts.targets[0], facts.predictions[0]
    same = predicted.shape == (*target.shape, 1) or target.shape == (*predicted.shape, 1)
    if not same or not predicted.std > limits["variation"] * target.std > 0:
        return False
    given, near = check.against_targets, limits["rounding"]
    others = [abs(value - given) <= near * abs(given) for value in check.against_others]
    if others and all(others):
        return False  # the loss ignores the targets altogether: SD708
    apart = abs(check.in_order - check.rolled)  # nan where it was not measured
    return apart <= near * max(abs(check.in_order), abs(check.rolled))
