"""SD102: the output is squashed twice."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds, source_of
from saldiag.core.measurement import LayerCall, Measurements, Wiring
from saldiag.core.wording import at_line, label
from saldiag.rules.shared import edits
from saldiag.rules.shared.graph import Network
from saldiag.rules.shared.output_heads import SQUASHING, from_logits, takes_logits_behind


class ActivationAppliedTwice(Rule):
    """Softmax or sigmoid is applied twice, by two layers or by a layer and the loss.

    ## What it does
    Checks the calls that make the model's outputs. Reported are a softmax or sigmoid without
    weights that follows another one, directly or through layers that only change the shape, and a
    loss with ``from_logits=True`` on an output that already is a softmax or sigmoid. Where Keras 3
    computes a cross-entropy from the logits before the output activation anyway,
    ``from_logits=True`` has no effect and is not reported.

    ## Why is this bad
    The first activation maps to [0, 1], and the second one gets a range of only 1: sigmoid of
    sigmoid stays within [0.5, 0.73], and softmax of softmax gives one of ten classes at most 0.23.
    The targets are out of reach, and the gradients shrink to a quarter or less.

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
    None, the check is exact (the derivative of the logistic function is at most 1/4; LeCun, Bottou,
    Orr & Müller, Efficient BackProp, 1998, section 4.4).
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
            if first is not None and _squashes_again(first, head):
                yield self._finding_of_two_layers(measured, network, first, head)
            elif head in judged and _loss_squashes_again(wiring, head):
                yield self._finding_of_loss(measured, wiring, head)

    def _finding_of_two_layers(
        self, measured: Measurements, network: Network, first: LayerCall, second: LayerCall
    ) -> Finding:
        source = source_of(measured, second.layer)
        certain = _edits_of_first_layer(measured, network, first, second)
        return self.finding(
            f"{label(second.layer)}: applies {second.activation} to the {first.activation} output "
            f"of {label(first.layer)}, which narrows the range of the predictions. Keep one of the "
            f"two{at_line(source)}",
            edits.told(certain)
            or f"outputs = x  # the output of {label(first.layer)}; delete {label(second.layer)}",
            layers=(first.layer, second.layer),
            evidence={"first": first.activation, "second": second.activation},
            source=source,
            edits=certain,
        )

    def _finding_of_loss(self, measured: Measurements, wiring: Wiring, head: LayerCall) -> Finding:
        source = source_of(measured, head.layer)
        return self.finding(
            f"{label(head.layer)}: {label(wiring.loss)} has from_logits=True and treats the "
            f"{head.activation} output as logits. Use from_logits=False{at_line(source)}",
            "from_logits=False  # in the loss given to compile()",
            layers=(head.layer,),
            evidence={"first": head.activation, "from_logits": True, "loss": wiring.loss},
            source=source,
            edits=edits.from_logits(measured, False) if len(wiring.outputs) == 1 else (),
        )


def _squashes_again(first: LayerCall, second: LayerCall) -> bool:
    return (
        first.activation in SQUASHING and second.activation in SQUASHING and second.parameters == 0
    )


def _loss_squashes_again(wiring: Wiring, head: LayerCall) -> bool:
    squashed = head.activation in SQUASHING
    return squashed and from_logits(wiring) and not takes_logits_behind(wiring)


def _edits_of_first_layer(
    measured: Measurements, network: Network, first: LayerCall, second: LayerCall
) -> edits.Edits:
    """No activation in the first layer, if both layers apply the same one.

    With two different activations, either can be the intended one.
    """
    alike = first.activation == second.activation and first.axis == second.axis
    if not alike or len(network.consumers(first.path)) != 1:
        return ()
    return edits.activation(measured, first, None)
