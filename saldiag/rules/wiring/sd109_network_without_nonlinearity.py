"""SD109: several layers with weights and no nonlinearity between them."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds, source_of
from saldiag.core.measurement import LayerCall, Measurements, Wiring
from saldiag.core.wording import at_line, counted, label, listed
from saldiag.rules.shared.graph import SHAPE_ONLY, Network

WEIGHTED = frozenset({
    "Conv1D", "Conv1DTranspose", "Conv2D", "Conv2DTranspose", "Conv3D", "Conv3DTranspose", "Dense",
})  # fmt: skip
LINEAR = SHAPE_ONLY | WEIGHTED | frozenset({
    "Add", "Average", "AveragePooling1D", "AveragePooling2D", "BatchNormalization", "Concatenate",
    "DepthwiseConv1D", "DepthwiseConv2D", "GlobalAveragePooling1D", "GlobalAveragePooling2D",
    "Normalization", "Rescaling", "SeparableConv1D", "SeparableConv2D", "Subtract", "ZeroPadding3D",
})  # fmt: skip
"""Layers that are linear without an activation (BatchNorm in inference mode)."""
LINEAR_OPERATIONS = frozenset({
    "Add", "AddV2", "BiasAdd", "Cast", "ConcatV2", "ExpandDims", "Identity", "Neg", "Pack", "Pad",
    "Reshape", "Shape", "Slice", "Split", "SplitV", "Squeeze", "StridedSlice", "Sub", "Transpose",
    "Unpack",
})  # fmt: skip


class NetworkWithoutNonlinearity(Rule):
    """All hidden layers are linear, and together equal one linear layer.

    ## What it does
    Checks whether all layers up to the output activation are linear, and at least two layers with
    weights follow each other. Not reported are networks with any part that is nonlinear or not
    known to be linear, linear layers in a row inside such a network (the projections of MobileNetV2
    and of attention are intended), and hidden layers that are narrower than both their input and
    the next layer's output. These limit the rank on purpose: a linear autoencoder, a factorised
    matrix, a bag of word vectors.

    ## Why is this bad
    A product of matrices is a matrix. Whatever its depth and width, the model is a linear or
    logistic regression, and cannot learn XOR or a curve.

    ## Example
    ```python
    x = keras.layers.Dense(64)(x)
    outputs = keras.layers.Dense(1)(x)
    ```

    ## Use instead
    ```python
    x = keras.layers.Dense(64, activation="relu")(x)
    outputs = keras.layers.Dense(1)(x)
    ```

    ## Threshold
    - `layers` = 2: linear layers with weights that are reported. What a linear model cannot learn:
      Minsky & Papert, Perceptrons, 1969. Depth without nonlinearity doesn't change that:
      Goodfellow, Bengio & Courville, Deep Learning, 2016, section 6.1.
    """

    code = "SD109"
    name = "network-without-nonlinearity"
    severity = "warning"
    requires = (Wiring,)
    thresholds = {"layers": 2}
    explains = {"SD801": "anywhere"}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        wiring = measured.need(Wiring)
        if wiring.operations is None:
            raise CannotJudge("the operations between the layers were not listed")
        network = Network(wiring)
        layers = _linear_layers(wiring, network)
        if len(layers) < limits["layers"]:
            return
        source = source_of(measured, layers[0])
        yield self.finding(
            f"{listed(layers)}: {counted(len(layers), 'layer')} with weights (threshold "
            f"{limits['layers']:.0f}) and no activation between them equal a single linear layer. "
            f"Give the hidden layers an activation{at_line(source)}",
            f'activation="relu"  # in {label(layers[0])}',
            layers=layers,
            evidence={"linear_layers": layers, "threshold": limits["layers"]},
            source=source,
        )


def _linear_layers(wiring: Wiring, network: Network) -> tuple[str, ...]:
    """The consecutive layers with weights, if the whole network is linear and limits no rank."""
    used = [network.leaves[path] for path in network.upstream(network.outputs)]
    heads = {head.path for head in network.heads()} | {
        before.path
        for head in network.heads()
        if head.parameters == 0 and (before := network.before(head.path))
    }
    outputs_only = {"Softmax", "Activation"}
    linear = all(
        (call.kind in LINEAR or (call.path in heads and call.kind in outputs_only))
        and (call.activation is None or call.path in heads)
        for call in used
    )
    if not linear or not set(wiring.operations or ()) <= LINEAR_OPERATIONS:
        return ()
    pairs = [(first, call) for call in used if (first := _weighted_layer_before(network, call))]
    if not pairs or any(_limits_rank(*pair) for pair in pairs):
        return ()
    position = wiring.order()
    both = {call.layer for pair in pairs for call in pair}
    return tuple(sorted(both, key=lambda layer: position[layer]))


def _weighted_layer_before(network: Network, call: LayerCall) -> LayerCall | None:
    """The trainable layer that feeds a trainable layer, through layers with a single input.

    Only kinds in ``WEIGHTED`` count, for both.
    """
    if call.kind not in WEIGHTED or not call.trainable:
        return None
    first: LayerCall | None = call
    for _ in network.leaves:  # no path is longer
        first = network.before(first.path) if first is not None else None
        if first is None or first.kind in WEIGHTED:
            break
    weighted = first is not None and first.kind in WEIGHTED and first.trainable
    return first if weighted else None


def _limits_rank(first: LayerCall, second: LayerCall) -> bool:
    """Whether the first layer's output is narrower than its input and the second's output."""
    shapes = (*first.input_shapes[:1], *first.output_shapes[:1], *second.output_shapes[:1])
    if len(shapes) != 3 or not all(shapes):
        return True
    into, between, out = (shape[-1] or 0 for shape in shapes)
    return between < min(into, out)
