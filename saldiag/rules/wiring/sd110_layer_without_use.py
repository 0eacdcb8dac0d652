"""SD110: a layer with weights that nothing comes out of."""

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
from saldiag.rules.shared.graph import Network
from saldiag.rules.shared.wording import at, counted, label, listed

WEIGHTED = frozenset({
    "BatchNormalization", "Bidirectional", "Conv1D", "Conv1DTranspose", "Conv2D", "Conv2DTranspose",
    "Conv3D", "Dense", "DepthwiseConv2D", "EinsumDense", "Embedding", "GRU", "LSTM",
    "LayerNormalization", "MultiHeadAttention", "SeparableConv2D", "SimpleRNN",
})  # fmt: skip
"""Layers that get trainable weights as soon as they are called."""


class LayerWithoutUse(Rule):
    """The model holds a layer that it never calls, or whose output it never uses.

    ## What it does
    Finds trainable layers with weights (or such that would get them when called) that the forward
    pass in training mode does not call, and such that are called while no output is made from what
    they give and no gradient reaches them. Frozen layers, what Keras' own layers keep inside, and
    models with a training step or a loss of their own, which can call layers elsewhere, are left
    alone; so are layers that get a gradient in any way, and such as a loss of ``add_loss`` is made
    from (a target network behind ``stop_gradient``).

    ## Why is this bad
    The layer was meant to do something, and does nothing: a block that is left out by a slip of a
    variable's name makes the network shallower than it is drawn.

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
    None, it is exact. That a definition without a use is a sign of a fault is as old as data flow
    analysis (Fosdick & Osterweil, Data Flow Analysis in Software Reliability, 1976).
    """

    code = "SD110"
    name = "layer-without-use"
    severity = "warning"
    requires = (Wiring,)
    explains = {
        "SD119": "anywhere", "SD402": "same_layer", "SD801": "anywhere", "SD901": "anywhere",
    }  # fmt: skip

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        wiring = measured.need(Wiring)
        if wiring.own_training:
            raise CannotJudge("the model's own training step can use layers that its call does not")
        fed = _fed(measured)
        uncalled = [layer for layer in wiring.uncalled if _matters(layer) and layer.path not in fed]
        if uncalled:
            yield self._uncalled(uncalled)
        unused = _unused(measured, fed)
        if unused:
            yield self._unused(measured, unused)

    def _uncalled(self, found: Sequence[UncalledLayer]) -> Finding:
        layers = tuple(layer.path for layer in found)
        source = next((layer.source for layer in found if layer.source), None)
        return self.finding(
            f"{counted(len(layers), 'layer')} that the model holds and never calls: "
            f"{listed(layers)}. Call it, or delete it{at(source)}",
            f"x = self.{label(layers[0])}(x)  # in call()",
            layers=layers,
            evidence={
                "uncalled": layers,
                "built": [layer.built for layer in found],
                "parameters": sum(layer.parameters for layer in found),
            },
            source=source,
        )

    def _unused(self, measured: Measurements, layers: tuple[str, ...]) -> Finding:
        source = source_of(measured, layers[-1])
        return self.finding(
            f"{counted(len(layers), 'layer')} whose output the model does not use: "
            f"{listed(layers)}; no output is made from it, and no gradient reaches it. Use what "
            f"{label(layers[-1])} gives, or delete it{at(source)}",
            f"x = self.{label(layers[-1])}(x)  # and hand x on",
            layers=layers,
            evidence={"unused": layers},
            source=source,
        )


def _matters(layer: UncalledLayer) -> bool:
    will_have = not layer.built and not WEIGHTED.isdisjoint(layer.kinds)
    return layer.trainable and (layer.parameters > 0 or will_have)


def _fed(measured: Measurements) -> set[str]:
    """Layers with a variable that gets a gradient, and all layers around them."""
    flow, status = measured.get(GradientFlow), measured.get(TrainableStatus)
    layers = {v.layer for v in flow.variables if v.norm is not None} if flow else set()
    layers |= {row.layer for row in status.rows if row.has_gradient} if status else set()
    return {
        "/".join(parts[:count])
        for parts in (layer.split("/") for layer in layers)
        for count in range(1, len(parts) + 1)
    }


def _unused(measured: Measurements, fed: set[str]) -> tuple[str, ...]:
    """Called layers that no output comes from and no gradient goes to."""
    wiring, flow = measured.need(Wiring), measured.get(GradientFlow)
    if flow is None or not wiring.outputs:
        return ()
    network = Network(wiring)
    if len(network.outputs) < len(wiring.outputs):
        return ()  # an output that is made by something unknown
    read = network.upstream([*network.outputs, *network.in_losses])
    used = {network.leaves[path].layer for path in read}
    starving = {variable.layer for variable in flow.variables} - fed
    calls = (call for call in wiring.calls if call.leaf and call.parameters)
    return tuple(
        dict.fromkeys(
            call.layer for call in calls if call.layer in starving and call.layer not in used
        )
    )
