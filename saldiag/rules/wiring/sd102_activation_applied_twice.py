"""SD102: the head squashes its output twice."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds, source_of
from saldiag.core.measurement import LayerCall, Measurements, Wiring
from saldiag.rules.shared import edits
from saldiag.rules.shared.graph import Network
from saldiag.rules.shared.output_heads import SQUASHING, from_logits, takes_logits_behind
from saldiag.rules.shared.wording import at, label


class ActivationAppliedTwice(Rule):
    """Softmax or sigmoid over softmax or sigmoid, by a layer or by the loss.

    ## What it does
    Looks at what makes the model's outputs: a softmax or sigmoid without weights that stands,
    through shape-only layers, on another one; and a loss with ``from_logits=True`` on an output
    that is squashed already. Where Keras 3 takes the logits behind the output by itself (a
    cross-entropy directly on the activation), ``from_logits=True`` changes nothing, and nothing is
    said.

    ## Why is this bad
    The first one maps to [0, 1], so the second sees a range of 1 only: sigmoid over sigmoid stays
    within [0.5, 0.73], softmax over softmax can give a class of ten no more than 0.23. The targets
    are out of reach, and gradients are a quarter of what they were, or less.

    ## Example
    ```python
    x = keras.layers.Dense(10, activation="softmax")(x)
    outputs = keras.layers.Softmax()(x)
    ```

    ## Use instead
    ```python
    outputs = keras.layers.Dense(10, activation="softmax")(x)
    ```

    ## Threshold
    None, it is exact (the derivative of the logistic function is at most 1/4; LeCun, Bottou, Orr &
    Müller, Efficient BackProp, 1998, section 4.4).
    """

    code = "SD102"
    name = "activation-applied-twice"
    severity = "error"
    by_loss = True
    requires = (Wiring,)
    explains = {"SD103": "anywhere", "SD602": "same_layer", "SD801": "anywhere"}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        wiring = measured.need(Wiring)
        network = Network(wiring)
        judged = network.judged_heads()
        for head in network.heads():
            first = network.before(head.path)
            if first is not None and _twice(first, head):
                yield self._by_layers(measured, network, first, head)
            elif head in judged and _twice_by_loss(wiring, head):
                yield self._by_loss(measured, wiring, head)

    def _by_layers(
        self, measured: Measurements, network: Network, first: LayerCall, second: LayerCall
    ) -> Finding:
        source = source_of(measured, second.layer)
        certain = _first_without(measured, network, first, second)
        delete = f"delete {label(second.layer)}"
        return self.finding(
            f"{label(second.layer)}: {second.activation} over the {first.activation} of "
            f"{label(first.layer)}. Delete {label(second.layer)}{at(source)}",
            f"{edits.told(certain)}, or {delete}"
            if certain
            else f"outputs = x  # the output of {label(first.layer)}; {delete}",
            layers=(first.layer, second.layer),
            evidence={"first": first.activation, "second": second.activation},
            source=source,
            edits=certain,
        )

    def _by_loss(self, measured: Measurements, wiring: Wiring, head: LayerCall) -> Finding:
        source = source_of(measured, head.layer)
        return self.finding(
            f"{label(head.layer)}: its {head.activation} is applied again by {label(wiring.loss)} "
            f"with from_logits=True. Use from_logits=False{at(source)}",
            "from_logits=False  # in the loss given to compile()",
            layers=(head.layer,),
            evidence={"first": head.activation, "from_logits": True, "loss": wiring.loss},
            source=source,
            edits=edits.from_logits(measured, False) if len(wiring.outputs) == 1 else (),
        )


def _twice(first: LayerCall, second: LayerCall) -> bool:
    return (
        first.activation in SQUASHING and second.activation in SQUASHING and second.parameters == 0
    )


def _twice_by_loss(wiring: Wiring, head: LayerCall) -> bool:
    squashed = head.activation in SQUASHING
    return squashed and from_logits(wiring) and not takes_logits_behind(wiring)


def _first_without(
    measured: Measurements, network: Network, first: LayerCall, second: LayerCall
) -> edits.Edits:
    """The same activation twice is once without the first; of two others either may stay."""
    alike = first.activation == second.activation and first.axis == second.axis
    if not alike or len(network.consumers(first.path)) != 1:
        return ()
    return edits.activation(measured, first, None)
