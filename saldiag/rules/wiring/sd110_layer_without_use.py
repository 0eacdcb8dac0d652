"""SD110: a layer with weights that does not contribute to the model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds, source_of
from saldiag.core.measurement import (
    GradientFlow,
    Measurements,
    TrainableStatus,
    UncalledLayer,
    Wiring,
)
from saldiag.core.wording import at_line, counted, label, listed
from saldiag.rules.shared.graph import Network

WEIGHTED = frozenset({
    "BatchNormalization", "Bidirectional", "Conv1D", "Conv1DTranspose", "Conv2D", "Conv2DTranspose",
    "Conv3D", "Dense", "DepthwiseConv2D", "EinsumDense", "Embedding", "GRU", "LSTM",
    "LayerNormalization", "MultiHeadAttention", "SeparableConv2D", "SimpleRNN",
})  # fmt: skip
"""Layers that create trainable weights in their first call."""


class LayerWithoutUse(Rule):
    """The model has a layer that it never calls, or whose output it never uses.

    ## What it does
    Finds trainable layers with weights (or layers that create weights in their first call) that the
    forward pass in training mode does not call. Also finds called layers that no output depends on
    and no gradient reaches. Not reported are frozen layers, the inner layers of Keras' own layers,
    layers that get a gradient in any way, layers that a loss of ``add_loss`` depends on (a target
    network behind ``stop_gradient``), and models with their own training step or loss, which can
    call layers elsewhere.

    ## Why is this bad
    The layer has no effect. A block that is skipped because of a wrong variable name makes the
    network shallower than intended.

    ## Example
    ```python
    def call(self, inputs):
        x = self.block_1(inputs)
        y = self.block_2(x)
        return self.head(x)
    ```

    ## Use instead
    ```python
    def call(self, inputs):
        x = self.block_1(inputs)
        x = self.block_2(x)
        return self.head(x)
    ```

    ## Threshold
    None, the check is exact. Data flow analysis treats a definition without a use as a sign of a
    fault (Fosdick & Osterweil, Data Flow Analysis in Software Reliability, 1976).
    """

    code = "SD110"
    name = "layer-without-use"
    severity = "warning"
    requires = (Wiring,)
    explains = {
        "SD119": "anywhere",
        "SD402": "same_layer",
        "SD801": "anywhere",
        "SD901": "anywhere",
    }

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        wiring = measured.need(Wiring)
        if wiring.own_training:
            raise CannotJudge("the model's own training step can use layers that its call does not")
        fed = _layers_with_gradient(measured)
        uncalled = [
            layer for layer in wiring.uncalled if _has_weights(layer) and layer.path not in fed
        ]
        if uncalled:
            yield self._finding_of_uncalled(uncalled)
        unused = _unused_layers(measured, fed)
        if unused:
            yield self._finding_of_unused(measured, unused)

    def _finding_of_uncalled(self, uncalled: Sequence[UncalledLayer]) -> Finding:
        layers = tuple(layer.path for layer in uncalled)
        source = next((layer.source for layer in uncalled if layer.source), None)
        them = "it" if len(layers) == 1 else "them"
        return self.finding(
            f"{listed(layers)}: {counted(len(layers), 'layer')} that the model never calls. Call "
            f"or delete {them}{at_line(source)}",
            f"x = self.{label(layers[0])}(x)  # in call()",
            layers=layers,
            evidence={
                "uncalled": layers,
                "built": [layer.built for layer in uncalled],
                "parameters": sum(layer.parameters for layer in uncalled),
            },
            source=source,
        )

    def _finding_of_unused(self, measured: Measurements, layers: tuple[str, ...]) -> Finding:
        source = source_of(measured, layers[-1])
        them = "it" if len(layers) == 1 else "them"
        return self.finding(
            f"{listed(layers)}: {counted(len(layers), 'layer')} that no model output depends "
            f"on and no gradient reaches. Use the output of {label(layers[-1])}, or delete "
            f"{them}{at_line(source)}",
            f"x = self.{label(layers[-1])}(x)  # and pass x to the next layer",
            layers=layers,
            evidence={"unused": layers},
            source=source,
        )


def _has_weights(layer: UncalledLayer) -> bool:
    """Whether the layer is trainable and has weights, or creates them in its first call."""
    creates = not layer.built and not WEIGHTED.isdisjoint(layer.kinds)
    return layer.trainable and (layer.parameters > 0 or creates)


def _layers_with_gradient(measured: Measurements) -> set[str]:
    """Layers with a variable that gets a gradient, and all layers that contain them."""
    flow, status = measured.get(GradientFlow), measured.get(TrainableStatus)
    layers = {v.layer for v in flow.variables if v.norm is not None} if flow else set()
    layers |= {row.layer for row in status.rows if row.has_gradient} if status else set()
    return {
        "/".join(parts[:count])
        for parts in (layer.split("/") for layer in layers)
        for count in range(1, len(parts) + 1)
    }


def _unused_layers(measured: Measurements, fed: set[str]) -> tuple[str, ...]:
    """Called layers that no output or loss depends on and that get no gradient."""
    wiring, flow = measured.need(Wiring), measured.get(GradientFlow)
    if flow is None or not wiring.outputs:
        return ()
    network = Network(wiring)
    if len(network.outputs) < len(wiring.outputs):
        return ()  # the call that makes one of the outputs is not known
    read = network.upstream([*network.outputs, *network.in_losses])
    used = {network.leaves[path].layer for path in read}
    starving = {variable.layer for variable in flow.variables} - fed
    calls = (call for call in wiring.calls if call.leaf and call.parameters)
    return tuple(
        dict.fromkeys(
            call.layer for call in calls if call.layer in starving and call.layer not in used
        )
    )
