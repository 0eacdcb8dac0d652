"""SD612: inputs that are scaled twice, or by a layer adapted to other data."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds, source_of
from saldiag.core.measurement import (
    ActivationRow,
    Activations,
    DataFacts,
    LayerCall,
    Measurements,
    TensorFacts,
    Wiring,
)
from saldiag.core.wording import at_line, label, number
from saldiag.rules.shared.graph import Network

SCALING_LAYERS = frozenset({"Normalization", "Rescaling"})
HIGHEST_PIXEL_VALUE = 255.0


class InputScaledTwice(Rule):
    """Inputs are scaled twice, or by a layer that was made for another range.

    ## What it does
    Checks the output of a Rescaling or Normalization layer at the model's input. A spread of almost
    0 shows that inputs were scaled before; a mean or standard deviation that no initializer is made
    for shows that a Normalization was adapted to other data, or never. Without such a layer, images
    whose maximum is 1/255, or that stay within 1/127.5 of -1, were scaled twice. If the pretrained
    encoder's range is known and starts below 0, images that are never below its middle were scaled
    to 0 … 1 instead.

    ## Why is this bad
    The network sees almost the same number everywhere: images differ only in the third digit, the
    gradients are equally small, and BatchNorm's output depends mostly on its epsilon. Many networks
    of ``keras.applications`` (EfficientNet, ConvNeXt, MobileNetV3) contain their own rescaling.

    ## Example
    ```python
    backbone = keras.applications.EfficientNetB0(include_top=False)  # rescales 0 … 255
    model.fit(images / 255.0, labels)
    ```

    ## Use instead
    ```python
    backbone = keras.applications.EfficientNetB0(include_top=False)
    model.fit(images, labels)
    ```

    ## Threshold
    - `spread` = 0.05: width of the range after a Rescaling, or standard deviation across samples
      after a Normalization; images that are scaled twice have 0.004 to 0.016. LeCun, Bottou, Orr &
      Müller (Efficient BackProp, 1998, section 4.3) advise shifting inputs to mean 0 and scaling
      them to a variance of about 1.
    - `scale` = 20: largest mean or standard deviation after a Normalization, as in SD601.
    - `samples` = 4: minimum number of samples for a statement about the lowest value of images.
    """

    code = "SD612"
    name = "input-scaled-twice"
    severity = "warning"
    requires = (Wiring, DataFacts)
    thresholds = {"spread": 0.05, "scale": 20, "samples": 4}
    explains = {
        "SD202": "anywhere",
        "SD203": "anywhere",
        "SD301": "anywhere",
        "SD302": "anywhere",
        "SD304": "anywhere",
        "SD305": "anywhere",
        "SD701": "anywhere",
        "SD702": "anywhere",
        "SD705": "anywhere",
        "SD801": "anywhere",
        "SD802": "anywhere",
    }

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        facts, activations = measured.need(DataFacts), measured.get(Activations)
        network = Network(measured.need(Wiring))
        scaling = [call for call in network.leaves.values() if _scales_the_input(network, call)]
        rows = {row.path: row for row in activations.rows} if activations else {}
        for call in scaling:
            if call.path in rows:
                yield from self._scaling_layer_findings(
                    measured, call, rows[call.path], facts, limits
                )
        for tensor in facts.inputs:
            if not scaling:
                yield from self._scaled_twice_findings(tensor, limits["spread"])
        if facts.expected_range is not None and facts.samples >= limits["samples"]:
            for tensor in facts.inputs[:1]:
                yield from self._upper_half_findings(
                    tensor, facts.expected_range, facts.samples, limits
                )

    def _scaling_layer_findings(
        self,
        measured: Measurements,
        call: LayerCall,
        row: ActivationRow,
        facts: DataFacts,
        limits: Thresholds,
    ) -> Iterable[Finding]:
        spread = (
            row.std * row.sample_variation
            if call.kind == "Normalization"
            else row.maximum - row.minimum
        )
        size = max(abs(row.mean), row.std)
        if 0 < spread < limits["spread"] and _reduces_spread(call, row, facts):
            kind = "width" if call.kind == "Rescaling" else "standard deviation across samples"
            measure = f"{kind} {number(spread)}"
            limit, advice = limits["spread"], "The inputs are scaled already: remove one scaling"
            fix = (
                "model.fit(images, labels)  # unscaled, 0 … 255: the model scales them"
                if call.kind == "Rescaling"
                else "normalization.adapt(x_train)  # what fit gets"
            )
        elif call.kind == "Normalization" and size > limits["scale"]:
            measure = f"mean {number(row.mean)}, standard deviation {number(row.std)}"
            limit, advice = limits["scale"], "Adapt it to the training data"
            fix = "normalization.adapt(x_train)  # what fit gets"
        else:
            return
        source = source_of(measured, call.layer)
        yield self.finding(
            f"{label(call.layer)}: outputs range from {_four_digits(row.minimum)} to "
            f"{_four_digits(row.maximum)}, {measure} (threshold {number(limit)}). "
            f"{advice}{at_line(source)}",
            fix,
            layers=(call.layer,),
            evidence={
                "minimum": row.minimum,
                "maximum": row.maximum,
                "mean": row.mean,
                "std": row.std,
                "spread": spread,
                "threshold": limit,
            },
            source=source,
        )

    def _scaled_twice_findings(self, tensor: TensorFacts, limit: float) -> Iterable[Finding]:
        if not _is_image(tensor):
            return
        width = tensor.maximum - tensor.minimum
        near_zero = (
            tensor.minimum >= 0
            and 0.8 / HIGHEST_PIXEL_VALUE < tensor.maximum < 1.01 / HIGHEST_PIXEL_VALUE
        )
        near_minus_one = (
            -1 - 2.02 / HIGHEST_PIXEL_VALUE
            < tensor.minimum
            < tensor.maximum
            < -1 + 2.02 / HIGHEST_PIXEL_VALUE
        )
        if near_zero or (near_minus_one and width > 0):
            yield self.finding(
                f"{label(tensor.name)}: images range from {_four_digits(tensor.minimum)} to "
                f"{_four_digits(tensor.maximum)}, width {number(width)} (threshold "
                f"{number(limit)}), because they were scaled twice. Scale them once",
                "x = images / 127.5 - 1.0  # images in 0 … 255, scaled once",
                evidence={
                    "minimum": tensor.minimum,
                    "maximum": tensor.maximum,
                    "spread": width,
                    "threshold": limit,
                },
            )

    def _upper_half_findings(
        self, tensor: TensorFacts, expected: tuple[float, float], samples: int, limits: Thresholds
    ) -> Iterable[Finding]:
        low, high = expected
        middle = (low + high) / 2
        inside = tensor.maximum <= high + 0.01 * (high - low)
        filled = tensor.maximum - tensor.minimum > 0.4 * (high - low)
        if low < 0 and tensor.minimum >= middle and inside and filled:
            yield self.finding(
                f"{label(tensor.name)}: values from {number(tensor.minimum)} to "
                f"{number(tensor.maximum)} in {samples} samples (threshold "
                f"{number(limits['samples'])}), but the pretrained encoder expects {number(low)} … "
                f"{number(high)}: no value is below the middle. Shift and scale them",
                f"x = x * {number(high - low)} - {number(-low)}",
                evidence={
                    "minimum": tensor.minimum,
                    "maximum": tensor.maximum,
                    "expected": [low, high],
                    "samples": samples,
                    "threshold": limits["samples"],
                },
            )


def _scales_the_input(network: Network, call: LayerCall) -> bool:
    """Whether a scaling layer gets the input with no weights and no other scaling before it."""
    if call.kind not in SCALING_LAYERS or not call.inputs:
        return False
    before = network.upstream(call.inputs)
    return not any(network.leaves[p].parameters for p in before - {call.path}) and not any(
        network.leaves[path].kind in SCALING_LAYERS for path in before - {call.path}
    )


def _reduces_spread(call: LayerCall, row: ActivationRow, facts: DataFacts) -> bool:
    """Whether the layer, and not the input, is the reason for a small spread."""
    if call.kind == "Rescaling":
        scale = call.config.get("scale")
        return isinstance(scale, (int, float)) and 0 < abs(scale) < 0.1
    if len(facts.inputs) != 1 or not facts.inputs[0].std > 0:
        return False
    return row.std * row.sample_variation < 0.5 * facts.inputs[0].std


def _is_image(tensor: TensorFacts) -> bool:
    """Whether the shape is (N, H, W, C) with 1, 3 or 4 channels and more than 16 values occur."""
    return len(tensor.shape) == 4 and tensor.shape[-1] in (1, 3, 4) and tensor.distinct > 16


def _four_digits(value: float) -> str:
    """A number in four significant digits; values near -1 differ in the third."""
    return f"{value:.4g}"
