"""SD601: the scale of the inputs does not suit the network."""

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
from saldiag.core.wording import label, number
from saldiag.rules.shared.graph import Network

SCALE_REMOVING_LAYERS = frozenset(
    {
        "BatchNormalization",
        "CategoryEncoding",
        "Discretization",
        "Embedding",
        "GroupNormalization",
        "Hashing",
        "IntegerLookup",
        "LayerNormalization",
        "Normalization",
        "Rescaling",
        "StringLookup",
        "TextVectorization",
        "UnitNormalization",
    }
)
"""Kinds of first layers that normalise their input, or that read it as codes."""

SCALING_OPERATIONS = frozenset(
    {
        "Add",
        "AddV2",
        "Div",
        "DivNoNan",
        "Log",
        "Log1p",
        "Mul",
        "RealDiv",
        "Sqrt",
        "Sub",
    }
)
"""Operations between layers that change the scale before the first layer."""


class InputNotNormalised(Rule):
    """The scale of the inputs does not suit the first layer.

    ## What it does
    If the input range of the pretrained encoder is known, compares the inputs with it and reports
    values outside of the range, or values that cover only a fraction of it. Otherwise reports a
    mean or standard deviation that no initializer is made for (such as that of images in 0 … 255).
    Not judged: integer codes for an embedding, inputs that a Rescaling or normalisation layer
    processes first, inputs scaled by arithmetic between layers or by a layer without weights, and a
    first convolution followed by BatchNorm.

    ## Why is this bad
    Initializers assume inputs of about unit variance. With values in 0 … 255, the gradients of the
    first layer are hundreds of times larger than those of the other layers, and no learning rate
    suits both. A pretrained encoder sees images unlike those that it was trained on.

    ## Example
    ```python
    model.fit(images, masks)  # 0 … 255
    ```

    ## Use instead
    ```python
    model.fit(images / 127.5 - 1.0, masks)
    ```

    ## Threshold
    - `scale` = 20: largest mean or standard deviation if no range is known. LeCun, Bottou, Orr &
      Müller (Efficient BackProp, 1998, section 4.3) advise shifting inputs to mean 0 and scaling
      them to the same variance, about 1.
    - `margin` = 0.1: largest distance of a value from the known range, as a share of the range's
      width.
    - `fraction` = 0.1: minimum share of the known range's width that the values cover.
    """

    code = "SD601"
    name = "input-not-normalised"
    severity = "warning"
    requires = (DataFacts,)
    thresholds = {"scale": 20, "margin": 0.1, "fraction": 0.1}
    explains = {
        "SD203": "anywhere",
        "SD205": "anywhere",
        "SD301": "anywhere",
        "SD304": "anywhere",
        "SD701": "anywhere",
        "SD705": "anywhere",
        "SD801": "anywhere",
    }

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        facts = measured.need(DataFacts)
        if facts.expected_range is not None:
            for tensor in facts.inputs[:1]:
                yield from self._expected_range_findings(tensor, facts.expected_range, limits)
        elif not _is_scaled_by_model(measured, limits["scale"]):
            for tensor in facts.inputs:
                yield from self._large_scale_findings(tensor, limits)

    def _expected_range_findings(
        self, tensor: TensorFacts, expected: tuple[float, float], limits: Thresholds
    ) -> Iterable[Finding]:
        low, high = expected
        width = high - low
        outside = max(low - tensor.minimum, tensor.maximum - high) / width
        covered = (tensor.maximum - tensor.minimum) / width
        if outside > limits["margin"]:
            deviation, threshold = f"relative excess {number(outside)}", limits["margin"]
        elif covered < limits["fraction"]:
            deviation, threshold = f"relative width {number(covered)}", limits["fraction"]
        else:
            return
        yield self.finding(
            f"{label(tensor.name)}: values from {number(tensor.minimum)} to "
            f"{number(tensor.maximum)}, but the pretrained encoder expects {number(low)} … "
            f"{number(high)} ({deviation}, threshold {number(threshold)}). Rescale them",
            _rescaling_layer_code(tensor, low, high),
            evidence={
                **_range_evidence(tensor),
                "expected": [low, high],
                "outside": outside,
                "covered": covered,
                "threshold": threshold,
            },
        )

    def _large_scale_findings(self, tensor: TensorFacts, limits: Thresholds) -> Iterable[Finding]:
        size = max(abs(tensor.mean), tensor.std)
        if not math.isfinite(size) or size <= limits["scale"] or _holds_integer_codes(tensor):
            return
        yield self.finding(
            f"{label(tensor.name)}: mean {number(tensor.mean)}, standard deviation "
            f"{number(tensor.std)} (threshold {number(limits['scale'])}), values from "
            f"{number(tensor.minimum)} to {number(tensor.maximum)}. Normalise them",
            _rescaling_layer_code(tensor, -1.0, 1.0)
            if tensor.minimum >= 0 and tensor.maximum <= 255
            else "layer = keras.layers.Normalization(); layer.adapt(inputs)",
            evidence={**_range_evidence(tensor), "size": size, "threshold": limits["scale"]},
        )


def _rescaling_layer_code(tensor: TensorFacts, low: float, high: float) -> str:
    """Code of a layer that maps the apparent range of the values to ``low`` … ``high``.

    Values from 0 on are taken as 0 … 1 or, if larger than 1, as 0 … 255.
    """
    start, end = tensor.minimum, tensor.maximum
    if start >= 0:
        start, end = 0.0, 255.0 if end > 1 else 1.0
    scale = (high - low) / (end - start) if end > start else 1.0
    offset = low - start * scale
    return f"x = keras.layers.Rescaling(scale={number(scale)}, offset={number(offset)})(x)"


def _range_evidence(tensor: TensorFacts) -> dict[str, float]:
    """The measured values that each finding shows."""
    return {
        "minimum": tensor.minimum,
        "maximum": tensor.maximum,
        "mean": tensor.mean,
        "std": tensor.std,
    }


def _holds_integer_codes(tensor: TensorFacts) -> bool:
    """Whether the integers are codes (tokens, classes) and not pixels."""
    whole = tensor.dtype.startswith(("int", "uint", "bool", "string"))
    pixels = tensor.dtype == "uint8" and len(tensor.shape) >= 3
    return whole and not pixels


def _is_scaled_by_model(measured: Measurements, scale: float) -> bool:
    """Whether the model brings its inputs to a suitable scale before the first weights."""
    wiring = measured.get(Wiring)
    if wiring is None:
        return False
    if not SCALING_OPERATIONS.isdisjoint(wiring.on_input or ()):
        return True
    network, scaled = Network(wiring), _calls_with_small_output(measured.get(Activations), scale)
    first = [call for call in network.leaves.values() if "" in call.inputs]
    return bool(first) and all(
        _removes_scale(network, call) or (call.path in scaled and not call.parameters)
        for call in first
    )


def _calls_with_small_output(activations: Activations | None, scale: float) -> set[str]:
    """Paths of the calls whose output has a mean and standard deviation of at most ``scale``."""
    rows = activations.rows if activations is not None else ()
    return {row.path for row in rows if max(abs(row.mean), row.std) <= scale}


def _removes_scale(network: Network, call: LayerCall) -> bool:
    """Whether the scale of the call's input has no effect on the layers after it."""
    if call.kind in SCALE_REMOVING_LAYERS:
        return True
    following = [network.leaves[path] for path in network.consumers(call.path)]
    linear = call.activation in (None, "linear")
    return (
        linear and bool(following) and all(_next_call_removes_scale(network, c) for c in following)
    )


def _next_call_removes_scale(network: Network, call: LayerCall) -> bool:
    """Whether ``call`` removes the scale, directly or as a convolution after padding."""
    if call.kind in SCALE_REMOVING_LAYERS:
        return True
    preceding = [network.leaves[path] for path in call.inputs if path in network.leaves]
    unweighted = bool(preceding) and all(not before.parameters for before in preceding)
    return unweighted and _removes_scale(network, call)
