"""SD111: a bias that the BatchNorm behind it takes away again."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds, source_of
from saldiag.core.measurement import LayerCall, Measurements, Wiring
from saldiag.rules.shared import edits
from saldiag.rules.shared.graph import Network
from saldiag.rules.shared.wording import at, counted, label, listed

WITH_BIAS = frozenset({
    "Conv1D", "Conv1DTranspose", "Conv2D", "Conv2DTranspose", "Conv3D", "Conv3DTranspose", "Dense",
    "DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D",
})  # fmt: skip
"""Layers that add one number to each channel at their end."""


class BiasBeforeBatchNorm(Rule):
    """A bias stands right before a BatchNorm, which subtracts it again.

    ## What it does
    Finds trainable dense layers and convolutions with a bias and no activation whose output goes
    straight into BatchNorm over the same (last) axis and nowhere else. It is only told (info): the
    model learns as well as without.

    ## Why is this bad
    BatchNorm subtracts each channel's mean, and with it every constant that was added to the
    channel. The bias has a gradient of 0 but for rounding, costs memory and time, and looks like a
    vanishing gradient in every report. BatchNorm's own beta does what it was meant for.

    ## Example
    ```python
    x = keras.layers.Conv2D(64, 3)(x)
    x = keras.layers.BatchNormalization()(x)
    ```

    ## Use instead
    ```python
    x = keras.layers.Conv2D(64, 3, use_bias=False)(x)
    x = keras.layers.BatchNormalization()(x)
    ```

    ## Threshold
    None, it is exact (Ioffe & Szegedy, Batch Normalization, 2015, section 3.2: the bias "can be
    ignored since its effect will be canceled by the subsequent mean subtraction").
    """

    code = "SD111"
    name = "bias-before-batchnorm"
    severity = "info"
    requires = (Wiring,)

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        network = Network(measured.need(Wiring))
        calls = [call for call in network.leaves.values() if _is_cancelled(network, call)]
        layers = tuple(dict.fromkeys(call.layer for call in calls))
        if not layers:
            return
        source = source_of(measured, layers[0])
        yield self.finding(
            f"{counted(len(layers), 'layer')} with a bias right before BatchNorm, which subtracts "
            f"it again: {listed(layers)}. Use use_bias=False{at(source)}",
            f"use_bias=False  # in {label(layers[0])}",
            layers=layers,
            evidence={"layers": layers},
            source=source,
            edits=_edits(measured, calls),
        )


def _edits(measured: Measurements, calls: list[LayerCall]) -> edits.Edits:
    layers = edits.layers_of(calls)
    return edits.all_or_none(
        *(edits.of_layer(measured, call, "use_bias", True, "False") for call in layers)
    )


def _is_cancelled(network: Network, call: LayerCall) -> bool:
    has_bias = call.kind in WITH_BIAS and bool(call.config.get("use_bias"))
    if not has_bias or not call.trainable or call.activation is not None:
        return False
    if call.path in network.outputs or call.config.get("data_format") == "channels_first":
        return False
    following = [network.leaves[path] for path in network.consumers(call.path)]
    return bool(following) and all(_normalises(after, call) for after in following)


def _normalises(call: LayerCall, before: LayerCall) -> bool:
    """Whether it subtracts, while training, the mean of what ``before`` puts out, by channel."""
    rank = len(before.output_shapes[0]) if before.output_shapes else 0
    last = call.config.get("axis") in (-1, rank - 1)  # LayerNormalization has a list
    return call.kind == "BatchNormalization" and call.trainable and last and len(call.inputs) == 1
