"""SD109: several layers with weights, and nothing nonlinear between any of them."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds, source_of
from saldiag.core.measurement import LayerCall, Measurements, Wiring
from saldiag.rules.shared.graph import SHAPE_ONLY, Network
from saldiag.rules.shared.wording import at, counted, label, listed

WEIGHTED = frozenset({
    "Conv1D", "Conv1DTranspose", "Conv2D", "Conv2DTranspose", "Conv3D", "Conv3DTranspose", "Dense",
})  # fmt: skip
LINEAR = SHAPE_ONLY | WEIGHTED | frozenset({
    "Add", "Average", "AveragePooling1D", "AveragePooling2D", "BatchNormalization", "Concatenate",
    "DepthwiseConv1D", "DepthwiseConv2D", "GlobalAveragePooling1D", "GlobalAveragePooling2D",
    "Normalization", "Rescaling", "SeparableConv1D", "SeparableConv2D", "Subtract", "ZeroPadding3D",
})  # fmt: skip
"""Layers that are linear (BatchNorm in inference mode) where they have no activation."""
LINEAR_OPERATIONS = frozenset({
    "Add", "AddV2", "BiasAdd", "Cast", "ConcatV2", "ExpandDims", "Identity", "Neg", "Pack", "Pad",
    "Reshape", "Shape", "Slice", "Split", "SplitV", "Squeeze", "StridedSlice", "Sub", "Transpose",
    "Unpack",
})  # fmt: skip


class NetworkWithoutNonlinearity(Rule):
    """All hidden layers are linear: together they can do no more than one layer.

    ## What it does
    Looks whether the whole network, up to the output's own activation, is made of layers without an
    activation, two or more of them with weights and one behind the other. A network with anything
    in it that is nonlinear, or not known to be linear, is left alone, as are linear layers in a row
    inside of it (the projections of MobileNetV2 and of attention are meant). So is a hidden layer
    that is narrower than what it connects, which limits the rank: a linear autoencoder, a
    factorised matrix, a bag of word vectors.

    ## Why is this bad
    A product of matrices is a matrix. However deep and wide it is, the model is a linear or a
    logistic regression: it cannot learn XOR, nor a curve.

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
    - `layers` = 2: layers with weights in a row. The limits of what is linear are those of Minsky &
      Papert, Perceptrons, 1969; that depth alone does not lift them: Goodfellow, Bengio &
      Courville, Deep Learning, 2016, section 6.1.
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
            f"{counted(len(layers), 'layer')} with weights (threshold {limits['layers']:.0f}) and "
            f"no activation before the last: {listed(layers)}. Together they are one linear "
            f"layer. Give the hidden ones an activation{at(source)}",
            f'activation="relu"  # in {label(layers[0])}',
            layers=layers,
            evidence={"linear_layers": layers, "threshold": limits["layers"]},
            source=source,
        )


def _linear_layers(wiring: Wiring, network: Network) -> tuple[str, ...]:
    """The layers with weights in the network, if all is linear and no rank is limited."""
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
    pairs = [(first, call) for call in used if (first := _weighted_before(network, call))]
    if not pairs or any(_limits_rank(*pair) for pair in pairs):
        return ()
    position = wiring.order()
    both = {call.layer for pair in pairs for call in pair}
    return tuple(sorted(both, key=lambda layer: position[layer]))


def _weighted_before(network: Network, call: LayerCall) -> LayerCall | None:
    """The weighted layer that feeds a weighted one, with one input all the way."""
    if call.kind not in WEIGHTED or not call.trainable:
        return None
    first: LayerCall | None = call
    for _ in network.leaves:  # no path is longer than that
        first = network.before(first.path) if first is not None else None
        if first is None or first.kind in WEIGHTED:
            break
    weighted = first is not None and first.kind in WEIGHTED and first.trainable
    return first if weighted else None


def _limits_rank(first: LayerCall, second: LayerCall) -> bool:
    """Whether what lies between the two is narrower than both what goes in and what comes out."""
    shapes = (*first.input_shapes[:1], *first.output_shapes[:1], *second.output_shapes[:1])
    if len(shapes) != 3 or not all(shapes):
        return True
    into, between, out = (shape[-1] or 0 for shape in shapes)
    return between < min(into, out)
