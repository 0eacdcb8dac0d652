"""SD601: the input's scale is not what the network expects."""

from __future__ import annotations

import math
from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds
from saldiag.core.measurement import (
    Activations,
    DataFacts,
    LayerCall,
    Measurements,
    TensorFacts,
    Wiring,
)
from saldiag.rules.shared.graph import Network
from saldiag.rules.shared.wording import label, number

NORMALISING = frozenset({
    "BatchNormalization", "CategoryEncoding", "Discretization", "Embedding", "GroupNormalization",
    "Hashing", "IntegerLookup", "LayerNormalization", "Normalization", "Rescaling", "StringLookup",
    "TextVectorization", "UnitNormalization",
})  # fmt: skip
"""First layers after which the input's scale does not matter, or is not a scale."""

ARITHMETIC = frozenset({
    "Add", "AddV2", "Div", "DivNoNan", "Log", "Log1p", "Mul", "RealDiv", "Sqrt", "Sub",
})  # fmt: skip
"""Operations before the first layer, after which its scale is not that of the input."""


class InputNotNormalised(Rule):
    """Inputs reach the first layer at another scale than it can work with.

    ## What it does
    Where the pretrained encoder's range is known, compares the input's range with it: values
    outside, or all within a fraction of it. Otherwise looks for values of a size that no
    initializer is made for (such as pictures in 0 … 255). Integer codes for an embedding, inputs
    that a Rescaling or normalisation layer takes first, or arithmetic between layers, or a layer
    without weights that scales them, and a first convolution that BatchNorm follows are left alone.

    ## Why is this bad
    Initializers assume inputs of about unit variance. With 0 … 255 the first layer's gradients are
    hundreds of times the others', and no learning rate suits both; a pretrained encoder sees
    pictures such as it was never shown.

    ## Example
    ```python
    model.fit(images, masks)  # 0 … 255
    ```

    ## Use instead
    ```python
    model.fit(images / 127.5 - 1.0, masks)
    ```

    ## Threshold
    - `scale` = 20: largest mean or standard deviation without a known range. Inputs are best
      shifted to mean 0 and scaled to the same variance, about 1 (LeCun, Bottou, Orr & Müller,
      Efficient BackProp, 1998, section 4.3).
    - `margin` = 0.1: share of the known range's width that values may lie outside of it.
    - `fraction` = 0.1: least share of the known range's width that values must cover.
    """

    code = "SD601"
    name = "input-not-normalised"
    severity = "warning"
    requires = (DataFacts,)
    thresholds = {"scale": 20, "margin": 0.1, "fraction": 0.1}
    explains = {
        "SD203": "anywhere", "SD205": "anywhere", "SD301": "anywhere", "SD304": "anywhere",
        "SD701": "anywhere", "SD705": "anywhere", "SD801": "anywhere",
    }  # fmt: skip

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        facts = measured.need(DataFacts)
        if facts.expected_range is not None:
            for tensor in facts.inputs[:1]:
                yield from self._against(tensor, facts.expected_range, limits)
        elif not _is_normalised_first(measured, limits["scale"]):
            for tensor in facts.inputs:
                yield from self._in_general(tensor, limits)

    def _against(
        self, tensor: TensorFacts, expected: tuple[float, float], limits: Thresholds
    ) -> Iterable[Finding]:
        low, high = expected
        width = high - low
        outside = max(low - tensor.minimum, tensor.maximum - high) / width
        covered = (tensor.maximum - tensor.minimum) / width
        if outside > limits["margin"]:
            what, threshold = f"{number(outside)} of its width outside", limits["margin"]
        elif covered < limits["fraction"]:
            what, threshold = f"covering {number(covered)} of its width", limits["fraction"]
        else:
            return
        yield self.finding(
            f"{label(tensor.name)}: values from {number(tensor.minimum)} to "
            f"{number(tensor.maximum)} where the pretrained encoder expects {number(low)} … "
            f"{number(high)}: {what} (threshold {number(threshold)}). Rescale them",
            _rescaling(tensor, low, high),
            evidence={
                **_range(tensor), "expected": [low, high], "outside": outside, "covered": covered,
                "threshold": threshold,
            },
        )  # fmt: skip

    def _in_general(self, tensor: TensorFacts, limits: Thresholds) -> Iterable[Finding]:
        size = max(abs(tensor.mean), tensor.std)
        if not math.isfinite(size) or size <= limits["scale"] or _is_code(tensor):
            return
        yield self.finding(
            f"{label(tensor.name)}: mean {number(tensor.mean)} and standard deviation "
            f"{number(tensor.std)} (threshold {number(limits['scale'])}), values from "
            f"{number(tensor.minimum)} to {number(tensor.maximum)}. Normalise them",
            _rescaling(tensor, -1.0, 1.0)
            if tensor.minimum >= 0 and tensor.maximum <= 255
            else "layer = keras.layers.Normalization(); layer.adapt(inputs)",
            evidence={**_range(tensor), "size": size, "threshold": limits["scale"]},
        )


def _rescaling(tensor: TensorFacts, low: float, high: float) -> str:
    """A layer that maps the range that the values seem to have to the wanted one."""
    start, end = tensor.minimum, tensor.maximum
    if start >= 0:
        start, end = 0.0, 255.0 if end > 1 else 1.0
    scale = (high - low) / (end - start) if end > start else 1.0
    offset = low - start * scale
    return f"x = keras.layers.Rescaling(scale={number(scale)}, offset={number(offset)})(x)"


def _range(tensor: TensorFacts) -> dict[str, float]:
    return {
        "minimum": tensor.minimum, "maximum": tensor.maximum,
        "mean": tensor.mean, "std": tensor.std,
    }  # fmt: skip


def _is_code(tensor: TensorFacts) -> bool:
    """Whether integers number things (tokens, classes) and are no pixels."""
    whole = tensor.dtype.startswith(("int", "uint", "bool", "string"))
    pixels = tensor.dtype == "uint8" and len(tensor.shape) >= 3
    return whole and not pixels


def _is_normalised_first(measured: Measurements, scale: float) -> bool:
    wiring = measured.get(Wiring)
    if wiring is None:
        return False
    if not ARITHMETIC.isdisjoint(wiring.on_input or ()):
        return True
    network, scaled = Network(wiring), _scaled(measured.get(Activations), scale)
    first = [call for call in network.leaves.values() if "" in call.inputs]
    return bool(first) and all(
        _heals(network, call) or (call.path in scaled and not call.parameters) for call in first
    )


def _scaled(activations: Activations | None, scale: float) -> set[str]:
    """Calls that put out values of a size that layers can work with."""
    rows = activations.rows if activations is not None else ()
    return {row.path for row in rows if max(abs(row.mean), row.std) <= scale}


def _heals(network: Network, call: LayerCall) -> bool:
    if call.kind in NORMALISING:
        return True
    following = [network.leaves[path] for path in network.consumers(call.path)]
    linear = call.activation in (None, "linear")
    return linear and bool(following) and all(_heals_later(network, c) for c in following)


def _heals_later(network: Network, call: LayerCall) -> bool:
    """Padding and the like before the first convolution, or BatchNorm right after it."""
    if call.kind in NORMALISING:
        return True
    feeding = [network.leaves[path] for path in call.inputs if path in network.leaves]
    reshaped = bool(feeding) and all(not before.parameters for before in feeding)
    return reshaped and _heals(network, call)
