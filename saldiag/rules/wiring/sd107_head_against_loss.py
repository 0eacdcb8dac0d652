"""SD107: the output's activation is none that the loss can work with."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import zip_longest

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds, source_of
from saldiag.core.measurement import DataFacts, LayerCall, Measurements, TensorFacts, Wiring
from saldiag.rules.shared import edits
from saldiag.rules.shared.graph import Network
from saldiag.rules.shared.output_heads import (
    CROSS_ENTROPIES,
    SQUASHING,
    axis_size,
    from_logits,
    takes_logits_behind,
)
from saldiag.rules.shared.wording import at, label, number

NO_PROBABILITIES = frozenset({
    "elu", "gelu", "leaky_relu", "log_softmax", "mish", "relu", "relu6", "selu", "silu", "softplus",
    "softsign", "tanh",
})  # fmt: skip
"""Activations whose values are not confined to [0, 1]."""
BOUNDED = frozenset({"softsign", "tanh"})
NEVER_NEGATIVE = frozenset({"relu", "relu6", "softplus"})
BY_ELEMENT = frozenset({
    "mean_squared_error", "mean_absolute_error", "huber", "log_cosh", "binary_crossentropy",
})  # fmt: skip


class HeadAgainstLoss(Rule):
    """The output's activation and the loss do not belong together.

    ## What it does
    Compares the last activation with Keras' own losses: a cross-entropy of probabilities on relu,
    tanh and their like; a cross-entropy from logits on an activation that keeps logits above 0
    (binary) or within [-1, 1]; a categorical cross-entropy over a single class; softmax where the
    targets of a sample do not sum up to 1, or under binary cross-entropy. What Keras 3 makes good
    (sigmoid under a categorical cross-entropy, ``from_logits=True`` on a sigmoid) is left alone, a
    linear output is SD106's, softmax over one unit SD101's, targets out of the range SD602's, an
    activation behind a sigmoid or softmax SD113's.

    ## Why is this bad
    The cross-entropy of what is no probability is clipped, with a gradient of 0, or not finite; out
    of bounded logits no sure prediction can be made; over one class the loss is 0 whatever is
    predicted; and a softmax cannot say yes to two classes, or to none.

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
    - `sum_margin` = 0.2: how far the targets of a sample must be from the sum 1 on average for a
      softmax to be unfit: beyond what label noise and void pixels make. Which output belongs to
      which loss: Bishop, Neural Networks for Pattern Recognition, 1995, sections 6.6 to 6.9.
    """

    code = "SD107"
    name = "head-against-loss"
    severity = "error"
    by_loss = True
    requires = (Wiring,)
    thresholds = {"sum_margin": 0.2}
    explains = {
        "SD103": "anywhere", "SD106": "anywhere", "SD201": "anywhere", "SD204": "anywhere",
        "SD301": "anywhere", "SD302": "anywhere", "SD303": "anywhere", "SD402": "anywhere",
        "SD801": "anywhere", "SD802": "anywhere", "SD804": "anywhere", "SD807": "anywhere",
        "SD901": "anywhere",
    }  # fmt: skip

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        wiring, facts = measured.need(Wiring), measured.get(DataFacts)
        network = Network(wiring)
        heads, judged = network.heads(), network.judged_heads()
        targets = facts.targets if facts is not None and len(facts.targets) == len(heads) else ()
        for head, target in zip_longest(heads, targets):
            before = network.before(head.path)
            if before is not None and before.activation in SQUASHING and not head.parameters:
                continue  # one of the two is too much: SD102, SD113
            known = wiring.loss in CROSS_ENTROPIES and head in judged
            if known and (found := _unfit(wiring, head)):
                yield self._against(measured, head, *found, {"threshold": limits["sum_margin"]})
            elif target is not None and head.activation == "softmax":
                yield from self._softmax(measured, head, target, limits["sum_margin"])

    def _softmax(
        self, measured: Measurements, head: LayerCall, target: TensorFacts, margin: float
    ) -> Iterable[Finding]:
        wiring = measured.need(Wiring)
        total = _sum_of_targets(head, target)
        if total is None or wiring.loss not in BY_ELEMENT:
            return
        evidence = {"sum_of_targets": total, "threshold": margin}
        if abs(total - 1) > margin:
            what = (
                f"its softmax makes outputs that sum up to 1, a sample's targets sum up to "
                f"{number(total)} on average (threshold 1 ± {number(margin)})"
            )
            yield self._against(measured, head, what, 'activation="sigmoid"', evidence)
        elif wiring.loss == "binary_crossentropy" and takes_logits_behind(wiring):
            what = (
                f"binary_crossentropy trains the logits behind its softmax as those of sigmoids; "
                f"a sample's targets sum up to {number(total)} (threshold 1 ± {number(margin)})"
            )
            yield self._against(
                measured, head, what, 'loss="categorical_crossentropy"', evidence, note=True
            )

    def _against(
        self,
        measured: Measurements,
        head: LayerCall,
        what: str,
        fix: str,
        evidence: dict[str, float],
        *,
        note: bool = False,
    ) -> Finding:
        source, loss = source_of(measured, head.layer), measured.need(Wiring).loss
        return self.finding(
            f"{label(head.layer)}: {what}. Use {fix}{at(source)}",
            f"{fix}  # in {'compile()' if 'loss' in fix else label(head.layer)}",
            layers=(head.layer,),
            evidence={"activation": head.activation, "loss": loss, **evidence},
            source=source,
            severity="warning" if note else "error",
            edits=_edits(measured, head, fix),
        )


def _unfit(wiring: Wiring, head: LayerCall) -> tuple[str, str] | None:
    """What is wrong between a cross-entropy and the head, and what to use."""
    binary = wiring.loss == "binary_crossentropy"
    shape = head.output_shapes[0] if head.output_shapes else ()
    last = wiring.loss_config.get("axis", -1) == -1
    if not binary and head.activation != "softmax" and last and shape[-1:] == (1,):
        said = f"{label(wiring.loss)} over a single class is 0 whatever is predicted"
        return f"{said} (threshold 2 classes)", 'loss="binary_crossentropy"'
    proper = 'activation="sigmoid"' if binary else 'activation="softmax"'
    if not from_logits(wiring):
        wrong = head.activation in NO_PROBABILITIES
        said = f"{label(wiring.loss)} takes its {head.activation} for probabilities, which"
        return (f"{said} lie within [0, 1] (threshold 0 outside)", proper) if wrong else None
    within = "within [-1, 1]" if head.activation in BOUNDED else "at 0 and above"
    if head.activation in BOUNDED or (binary and head.activation in NEVER_NEGATIVE):
        said = f"its {head.activation} keeps the logits of {label(wiring.loss)} {within}"
        return f"{said} (threshold: no limit)", 'activation="linear"'
    return None


def _sum_of_targets(head: LayerCall, target: TensorFacts) -> float | None:
    """The sum over the last axis of targets in [0, 1], on average; None if not to be told."""
    size = axis_size(head)
    shape = head.output_shapes[0] if head.output_shapes else ()
    last = head.axis is None or head.axis == len(shape) - 1
    fits = size is not None and size > 1 and last and target.shape[-1:] == (size,)
    if not fits or size is None or len(target.shape) != len(shape):
        return None
    inside = target.minimum >= 0 and target.maximum <= 1
    return size * target.mean if inside else None


def _edits(measured: Measurements, head: LayerCall, fix: str) -> edits.Edits:
    """What ``fix`` says (``activation="softmax"``), where it is the whole of it."""
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
