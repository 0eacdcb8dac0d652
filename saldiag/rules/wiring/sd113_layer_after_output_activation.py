"""SD113: a layer after the activation that makes probabilities."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds, source_of
from saldiag.core.measurement import LayerCall, Measurements, Wiring
from saldiag.core.wording import at_line, label
from saldiag.rules.shared.graph import Network
from saldiag.rules.shared.output_heads import CROSS_ENTROPIES, SQUASHING, from_logits

NORMALIZATIONS = frozenset({
    "BatchNormalization", "GroupNormalization", "LayerNormalization", "RMSNormalization",
})  # fmt: skip
OTHER_ACTIVATIONS = frozenset({
    "elu", "gelu", "leaky_relu", "log_softmax", "relu", "relu6", "selu", "silu", "softplus", "tanh",
})  # fmt: skip
"""Activations other than sigmoid and softmax."""


class LayerAfterOutputActivation(Rule):
    """A normalisation or another activation follows the output's sigmoid or softmax.

    ## What it does
    Checks, under a cross-entropy of probabilities, whether the output comes from a normalisation or
    an activation without weights directly after a sigmoid or softmax. SD102 reports two of sigmoid
    and softmax in a row.

    ## Why is this bad
    The cross-entropy treats the last output as probabilities. A normalisation centres it at 0,
    which clips half of it, with a gradient of 0. tanh keeps it below 0.77. relu changes no value,
    but hides the logits from which Keras 3 computes the loss otherwise.

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
    None, the check is exact (Bridle, Probabilistic interpretation of feedforward classification
    network outputs, 1990: the cross-entropy directly follows the logistic function or softmax).
    """

    code = "SD113"
    name = "layer-after-output-activation"
    severity = "error"
    by_loss = True
    requires = (Wiring,)
    explains = {
        "SD103": "anywhere",
        "SD106": "anywhere",
        "SD201": "anywhere",
        "SD204": "anywhere",
        "SD301": "same_layer",
        "SD801": "anywhere",
        "SD802": "anywhere",
    }

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        wiring = measured.need(Wiring)
        if wiring.loss not in CROSS_ENTROPIES or from_logits(wiring):
            return
        network = Network(wiring)
        for head in network.heads():
            first = network.before(head.path)
            if first is not None and first.activation in SQUASHING and _alters_probabilities(head):
                yield self._finding_of_head(measured, first, head)

    def _finding_of_head(
        self, measured: Measurements, first: LayerCall, head: LayerCall
    ) -> Finding:
        source, loss = source_of(measured, head.layer), measured.need(Wiring).loss
        follower = head.kind if head.kind in NORMALIZATIONS else str(head.activation)
        return self.finding(
            f"{label(head.layer)}: {follower} follows the {first.activation} of "
            f"{label(first.layer)}, but {label(loss)} expects probabilities. Delete "
            f"{label(head.layer)}, or move it before {label(first.layer)}{at_line(source)}",
            f"outputs = x  # the output of {label(first.layer)}; delete {label(head.layer)}",
            layers=(head.layer,),
            evidence={"activation": first.activation, "behind": follower, "loss": loss},
            source=source,
            severity="warning" if head.activation in {"relu", "relu6"} else "error",
        )


def _alters_probabilities(head: LayerCall) -> bool:
    return head.kind in NORMALIZATIONS or (
        head.activation in OTHER_ACTIVATIONS and head.parameters == 0
    )
