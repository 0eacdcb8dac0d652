"""SD113: a layer behind the activation that makes probabilities."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds, source_of
from saldiag.core.measurement import LayerCall, Measurements, Wiring
from saldiag.rules.shared.graph import Network
from saldiag.rules.shared.output_heads import CROSS_ENTROPIES, SQUASHING, from_logits
from saldiag.rules.shared.wording import at, label

NORMALISING = frozenset({
    "BatchNormalization", "GroupNormalization", "LayerNormalization", "RMSNormalization",
})  # fmt: skip
RESHAPING = frozenset({
    "elu", "gelu", "leaky_relu", "log_softmax", "relu", "relu6", "selu", "silu", "softplus", "tanh",
})  # fmt: skip
"""Activations that are none of the two that make probabilities."""


class LayerAfterOutputActivation(Rule):
    """A normalisation or another activation stands behind the output's sigmoid or softmax.

    ## What it does
    Where the loss is a cross-entropy of probabilities, looks whether the output was made by a
    normalisation, or by an activation without weights, right behind a sigmoid or softmax. Those two
    twice in a row are SD102's.

    ## Why is this bad
    The cross-entropy takes what comes last for probabilities. A normalisation spreads it around 0,
    so that half of it is clipped, with a gradient of 0; tanh lets nothing through above 0.76; relu
    changes no number, and hides from Keras 3 the logits that it computes the loss from.

    ## Example
    ```python
    x = keras.layers.Dense(1, activation="sigmoid")(x)
    outputs = keras.layers.BatchNormalization()(x)
    ```

    ## Use instead
    ```python
    x = keras.layers.BatchNormalization()(x)
    outputs = keras.layers.Dense(1, activation="sigmoid")(x)
    ```

    ## Threshold
    None, it is exact (Bridle, Probabilistic interpretation of feedforward classification network
    outputs, 1990: the cross-entropy belongs to the logistic function or softmax right before it).
    """

    code = "SD113"
    name = "layer-after-output-activation"
    severity = "error"
    by_loss = True
    requires = (Wiring,)
    explains = {
        "SD103": "anywhere", "SD106": "anywhere", "SD201": "anywhere", "SD204": "anywhere",
        "SD301": "same_layer", "SD801": "anywhere", "SD802": "anywhere",
    }  # fmt: skip

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        wiring = measured.need(Wiring)
        if wiring.loss not in CROSS_ENTROPIES or from_logits(wiring):
            return
        network = Network(wiring)
        for head in network.heads():
            first = network.before(head.path)
            if first is not None and first.activation in SQUASHING and _spoils(head):
                yield self._after(measured, first, head)

    def _after(self, measured: Measurements, first: LayerCall, head: LayerCall) -> Finding:
        source, loss = source_of(measured, head.layer), measured.need(Wiring).loss
        what = head.kind if head.kind in NORMALISING else str(head.activation)
        return self.finding(
            f"{label(head.layer)}: {what} behind the {first.activation} of {label(first.layer)}; "
            f"{label(loss)} takes its output for probabilities. Delete it, or put it before "
            f"{label(first.layer)}{at(source)}",
            f"outputs = x  # the output of {label(first.layer)}; delete {label(head.layer)}",
            layers=(head.layer,),
            evidence={"activation": first.activation, "behind": what, "loss": loss},
            source=source,
            severity="warning" if head.activation in {"relu", "relu6"} else "error",
        )


def _spoils(head: LayerCall) -> bool:
    return head.kind in NORMALISING or (head.activation in RESHAPING and head.parameters == 0)
