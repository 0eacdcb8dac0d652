"""SD111: a bias that the next layer, BatchNorm, cancels."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds, source_of
from saldiag.core.measurement import LayerCall, Measurements, Wiring
from saldiag.core.wording import at_line, counted, label, listed
from saldiag.rules.shared import edits
from saldiag.rules.shared.graph import Network

WITH_BIAS = frozenset({
    "Conv1D", "Conv1DTranspose", "Conv2D", "Conv2DTranspose", "Conv3D", "Conv3DTranspose", "Dense",
    "DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D",
})  # fmt: skip
"""Layers that add one number to each channel of their output."""


class BiasBeforeBatchNorm(Rule):
    """A bias directly before BatchNorm has no effect.

    ## What it does
    Finds trainable dense layers and convolutions with a bias and no activation whose output goes
    only to BatchNorm over the same (last) axis. The finding is an info: the model learns as well
    with the bias as without it.

    ## Why is this bad
    BatchNorm subtracts the mean of each channel, including any constant added to the channel. The
    bias has a gradient of 0 up to rounding, costs memory and time, and looks like a vanishing
    gradient in reports. BatchNorm's beta does the same job.

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
    None, the check is exact (Ioffe & Szegedy, Batch Normalization, 2015, section 3.2: the bias "can
    be ignored since its effect will be canceled by the subsequent mean subtraction").
    """

    code = "SD111"
    name = "bias-before-batchnorm"
    severity = "info"
    requires = (Wiring,)

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        network = Network(measured.need(Wiring))
        calls = [call for call in network.leaves.values() if _bias_is_cancelled(network, call)]
        layers = tuple(dict.fromkeys(call.layer for call in calls))
        if not layers:
            return
        source = source_of(measured, layers[0])
        yield self.finding(
            f"{listed(layers)}: {counted(len(layers), 'layer')} with a bias that the next layer, "
            f"BatchNorm, cancels. Use use_bias=False{at_line(source)}",
            f"use_bias=False  # in {label(layers[0])}",
            layers=layers,
            evidence={"layers": layers},
            source=source,
            edits=_edits_without_bias(measured, calls),
        )


def _edits_without_bias(measured: Measurements, calls: list[LayerCall]) -> edits.Edits:
    layers = edits.layers_of(calls)
    return edits.all_or_none(
        *(edits.of_layer(measured, call, "use_bias", True, "False") for call in layers)
    )


def _bias_is_cancelled(network: Network, call: LayerCall) -> bool:
    has_bias = call.kind in WITH_BIAS and bool(call.config.get("use_bias"))
    if not has_bias or not call.trainable or call.activation is not None:
        return False
    if call.path in network.outputs or call.config.get("data_format") == "channels_first":
        return False
    following = [network.leaves[path] for path in network.consumers(call.path)]
    return bool(following) and all(_subtracts_channel_means(after, call) for after in following)


def _subtracts_channel_means(call: LayerCall, before: LayerCall) -> bool:
    """Whether the call, in training, subtracts the mean of each channel of ``before``'s output."""
    rank = len(before.output_shapes[0]) if before.output_shapes else 0
    last = call.config.get("axis") in (-1, rank - 1)  # a list in LayerNormalization
    return call.kind == "BatchNormalization" and call.trainable and last and len(call.inputs) == 1
