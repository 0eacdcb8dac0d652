"""SD107: the output activation doesn't fit the loss."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import zip_longest

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds, source_of
from saldiag.core.measurement import DataFacts, LayerCall, Measurements, TensorFacts, Wiring
from saldiag.core.wording import at_line, label, number
from saldiag.rules.shared import edits
from saldiag.rules.shared.graph import Network
from saldiag.rules.shared.output_heads import (
    CROSS_ENTROPIES,
    SQUASHING,
    axis_size,
    from_logits,
    takes_logits_behind,
)

NOT_PROBABILITIES = frozenset({
    "elu", "gelu", "leaky_relu", "log_softmax", "mish", "relu", "relu6", "selu", "silu", "softplus",
    "softsign", "tanh",
})  # fmt: skip
"""Activations whose values are not limited to [0, 1]."""
BOUNDED = frozenset({"softsign", "tanh"})
NEVER_NEGATIVE = frozenset({"relu", "relu6", "softplus"})
BY_ELEMENT = frozenset({
    "mean_squared_error", "mean_absolute_error", "huber", "log_cosh", "binary_crossentropy",
})  # fmt: skip
"""Losses that compare prediction and target element by element."""


class HeadAgainstLoss(Rule):
    """The output activation doesn't fit the loss.

    ## What it does
    Compares the output activation with Keras' own losses. Reported are a cross-entropy of
    probabilities on relu, tanh or a similar activation; a cross-entropy of logits on an activation
    that is never negative (binary) or limited to [-1, 1]; a categorical cross-entropy over a single
    class; and softmax where a sample's targets don't sum to 1, or under binary cross-entropy.
    Combinations that Keras 3 corrects are ignored (sigmoid under a categorical cross-entropy,
    ``from_logits=True`` on a sigmoid). Other rules report a linear output (SD106), softmax over one
    unit (SD101), targets outside the activation's range (SD602) and an activation after a sigmoid
    or softmax (SD113).

    ## Why is this bad
    A cross-entropy of values that are not probabilities is clipped, with a gradient of 0, or not
    finite. Limited logits cannot express a confident prediction. Over a single class the loss is 0
    for every prediction. A softmax cannot predict two classes at once, or none.

    ## Example
    ```python
    outputs = keras.layers.Dense(10, activation="relu")(x)
    model.compile(loss="sparse_categorical_crossentropy")
    ```

    ## Use instead
    ```python
    outputs = keras.layers.Dense(10, activation="softmax")(x)
    model.compile(loss="sparse_categorical_crossentropy")
    ```

    ## Threshold
    - `sum_margin` = 0.2: smallest distance from 1 of a sample's sum of targets, on average, at
      which a softmax is reported: more than label noise and void pixels cause. Which output fits
      which loss: Bishop, Neural Networks for Pattern Recognition, 1995, sections 6.6 to 6.9.
    """

    code = "SD107"
    name = "head-against-loss"
    severity = "error"
    by_loss = True
    requires = (Wiring,)
    thresholds = {"sum_margin": 0.2}
    explains = {
        "SD103": "anywhere",
        "SD106": "anywhere",
        "SD201": "anywhere",
        "SD204": "anywhere",
        "SD301": "anywhere",
        "SD302": "anywhere",
        "SD303": "anywhere",
        "SD402": "anywhere",
        "SD801": "anywhere",
        "SD802": "anywhere",
        "SD804": "anywhere",
        "SD807": "anywhere",
        "SD901": "anywhere",
    }

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        wiring, facts = measured.need(Wiring), measured.get(DataFacts)
        network = Network(wiring)
        heads, judged = network.heads(), network.judged_heads()
        targets = facts.targets if facts is not None and len(facts.targets) == len(heads) else ()
        for head, target in zip_longest(heads, targets):
            before = network.before(head.path)
            if before is not None and before.activation in SQUASHING and not head.parameters:
                continue  # SD102 and SD113 report a second activation
            known = wiring.loss in CROSS_ENTROPIES and head in judged
            if known and (mismatch := _mismatch_with_cross_entropy(wiring, head)):
                evidence = {"threshold": limits["sum_margin"]}
                yield self._finding_of_head(measured, head, *mismatch, evidence)
            elif target is not None and head.activation == "softmax":
                yield from self._findings_of_softmax(measured, head, target, limits["sum_margin"])

    def _findings_of_softmax(
        self, measured: Measurements, head: LayerCall, target: TensorFacts, margin: float
    ) -> Iterable[Finding]:
        wiring = measured.need(Wiring)
        total = _sum_of_targets(head, target)
        if total is None or wiring.loss not in BY_ELEMENT:
            return
        evidence = {"sum_of_targets": total, "threshold": margin}
        if abs(total - 1) > margin:
            mismatch = (
                f"the softmax outputs of a sample sum to 1, but its targets sum to "
                f"{number(total)} on average (threshold 1 ± {number(margin)})"
            )
            yield self._finding_of_head(measured, head, mismatch, 'activation="sigmoid"', evidence)
        elif wiring.loss == "binary_crossentropy" and takes_logits_behind(wiring):
            mismatch = (
                f"binary_crossentropy trains the logits before the softmax as if for sigmoids, but "
                f"a sample's targets sum to {number(total)} (threshold 1 ± {number(margin)})"
            )
            yield self._finding_of_head(
                measured, head, mismatch, 'loss="categorical_crossentropy"', evidence, note=True
            )

    def _finding_of_head(
        self,
        measured: Measurements,
        head: LayerCall,
        mismatch: str,
        fix: str,
        evidence: dict[str, float],
        *,
        note: bool = False,
    ) -> Finding:
        source, loss = source_of(measured, head.layer), measured.need(Wiring).loss
        return self.finding(
            f"{label(head.layer)}: {mismatch}. Use {fix}{at_line(source)}",
            f"{fix}  # in {'compile()' if 'loss' in fix else label(head.layer)}",
            layers=(head.layer,),
            evidence={"activation": head.activation, "loss": loss, **evidence},
            source=source,
            severity="warning" if note else "error",
            edits=_certain_edits(measured, head, fix),
        )


def _mismatch_with_cross_entropy(wiring: Wiring, head: LayerCall) -> tuple[str, str] | None:
    """Why the output activation doesn't fit the cross-entropy, and the fix; None if it fits."""
    binary = wiring.loss == "binary_crossentropy"
    shape = head.output_shapes[0] if head.output_shapes else ()
    last = wiring.loss_config.get("axis", -1) == -1
    if not binary and head.activation != "softmax" and last and shape[-1:] == (1,):
        reason = f"{label(wiring.loss)} over a single class is 0 for every prediction"
        return f"{reason} (threshold 2 classes)", 'loss="binary_crossentropy"'
    proper = 'activation="sigmoid"' if binary else 'activation="softmax"'
    if not from_logits(wiring):
        wrong = head.activation in NOT_PROBABILITIES
        reason = f"{label(wiring.loss)} expects probabilities, but {head.activation} is not limited"
        return (f"{reason} to [0, 1] (threshold 0 outside)", proper) if wrong else None
    allowed = "[-1, 1]" if head.activation in BOUNDED else "0 and above"
    if head.activation in BOUNDED or (binary and head.activation in NEVER_NEGATIVE):
        reason = f"{head.activation} limits the logits of {label(wiring.loss)} to {allowed}"
        return f"{reason} (threshold: no limit)", 'activation="linear"'
    return None


def _sum_of_targets(head: LayerCall, target: TensorFacts) -> float | None:
    """The mean over samples of the sum over the last axis, for targets in [0, 1]; else None."""
    size = axis_size(head)
    shape = head.output_shapes[0] if head.output_shapes else ()
    last = head.axis is None or head.axis == len(shape) - 1
    fits = size is not None and size > 1 and last and target.shape[-1:] == (size,)
    if not fits or size is None or len(target.shape) != len(shape):
        return None
    inside = target.minimum >= 0 and target.maximum <= 1
    return size * target.mean if inside else None


def _certain_edits(measured: Measurements, head: LayerCall, fix: str) -> edits.Edits:
    """The change in ``fix``, such as ``activation="softmax"``, if no other change is needed."""
    argument, _, value = fix.partition("=")
    new = value.strip('"')
    if argument == "activation":
        return edits.activation(measured, head, None if new == "linear" else new)
    wiring, facts = measured.need(Wiring), measured.get(DataFacts)
    if len(wiring.outputs) != 1 or facts is None or from_logits(wiring):
        return ()
    labels = all(target.minimum >= 0 and target.maximum <= 1 for target in facts.targets)
    if new == "binary_crossentropy" and not (labels and head.activation == "sigmoid"):
        return ()
    return edits.loss(measured, new)
