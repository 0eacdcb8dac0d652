"""SD612: inputs that are scaled once more, or by a layer that was made for others."""

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
from saldiag.rules.shared.graph import Network
from saldiag.rules.shared.wording import at, label, number

SCALING = frozenset({"Normalization", "Rescaling"})
LEVELS = 255.0


class InputScaledTwice(Rule):
    """A scaling layer gets inputs of another range than it is made for, or they are scaled twice.

    ## What it does
    Looks at what a Rescaling or Normalization layer at the model's input makes of its inputs: a
    spread of next to nothing where it shrinks what was scaled before, or numbers of a size that no
    initializer is made for where a Normalization was adapted to other data, or never. Without such
    a layer, pictures that end at 1/255, or stay within 1/127.5 of -1, were scaled twice. Where the
    pretrained encoder's range is known and reaches below 0, pictures that are never below its
    middle were scaled to 0 … 1.

    ## Why is this bad
    The network sees next to the same number everywhere: pictures differ in the third digit, its
    gradients are as small, and what BatchNorm makes of it is mostly its epsilon. Many networks of
    ``keras.applications`` (EfficientNet, ConvNeXt, MobileNetV3) rescale by themselves.

    ## Example
    ```python
    backbone = keras.applications.EfficientNetB0(include_top=False)  # rescales 0 … 255 itself
    model.fit(images / 255.0, labels)
    ```

    ## Use instead
    ```python
    backbone = keras.applications.EfficientNetB0(include_top=False)
    model.fit(images, labels)
    ```

    ## Threshold
    - `spread` = 0.05: width of the range behind a Rescaling, or standard deviation across samples
      behind a Normalization; pictures scaled twice have 0.004 to 0.016. Inputs are best shifted to
      mean 0 and scaled to a variance of about 1 (LeCun, Bottou, Orr & Müller, Efficient BackProp,
      1998, section 4.3).
    - `scale` = 20: largest mean or standard deviation behind a Normalization, as in SD601.
    - `samples` = 4: fewest samples to tell what pictures are never below.
    """

    code = "SD612"
    name = "input-scaled-twice"
    severity = "warning"
    requires = (Wiring, DataFacts)
    thresholds = {"spread": 0.05, "scale": 20, "samples": 4}
    explains = {
        "SD202": "anywhere", "SD203": "anywhere", "SD301": "anywhere",
        "SD302": "anywhere", "SD304": "anywhere", "SD305": "anywhere", "SD701": "anywhere",
        "SD702": "anywhere", "SD705": "anywhere", "SD801": "anywhere", "SD802": "anywhere",
    }  # fmt: skip

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        facts, activations = measured.need(DataFacts), measured.get(Activations)
        network = Network(measured.need(Wiring))
        scaling = [call for call in network.leaves.values() if _is_first(network, call)]
        rows = {row.path: row for row in activations.rows} if activations else {}
        for call in scaling:
            if call.path in rows:
                yield from self._behind(measured, call, rows[call.path], facts, limits)
        for tensor in facts.inputs:
            if not scaling:
                yield from self._twice(tensor, limits["spread"])
        if facts.expected_range is not None and facts.samples >= limits["samples"]:
            for tensor in facts.inputs[:1]:
                yield from self._upper_half(tensor, facts.expected_range, facts.samples, limits)

    def _behind(
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
        if 0 < spread < limits["spread"] and _shrinks(call, row, facts):
            said = f"{number(spread)} {'wide' if call.kind == 'Rescaling' else 'across samples'}"
            limit, advice = limits["spread"], "The inputs are scaled already: leave one of the two"
            fix = (
                "model.fit(images, labels)  # as they are, 0 … 255: the model scales them"
                if call.kind == "Rescaling"
                else "normalization.adapt(x_train)  # what fit gets"
            )
        elif call.kind == "Normalization" and size > limits["scale"]:
            said = f"mean {number(row.mean)}, standard deviation {number(row.std)}"
            limit, advice = limits["scale"], "It was adapted to other data, or never"
            fix = "normalization.adapt(x_train)  # what fit gets"
        else:
            return
        source = source_of(measured, call.layer)
        yield self.finding(
            f"{label(call.layer)}: behind it the inputs run from {_fine(row.minimum)} to "
            f"{_fine(row.maximum)}, {said} (threshold {number(limit)}). {advice}{at(source)}",
            fix,
            layers=(call.layer,),
            evidence={
                "minimum": row.minimum, "maximum": row.maximum, "mean": row.mean, "std": row.std,
                "spread": spread, "threshold": limit,
            },
            source=source,
        )  # fmt: skip

    def _twice(self, tensor: TensorFacts, limit: float) -> Iterable[Finding]:
        if not _is_picture(tensor):
            return
        width = tensor.maximum - tensor.minimum
        by_levels = tensor.minimum >= 0 and 0.8 / LEVELS < tensor.maximum < 1.01 / LEVELS
        around = -1 - 2.02 / LEVELS < tensor.minimum < tensor.maximum < -1 + 2.02 / LEVELS
        if by_levels or (around and width > 0):
            yield self.finding(
                f"{label(tensor.name)}: pictures from {_fine(tensor.minimum)} to "
                f"{_fine(tensor.maximum)}, {number(width)} wide (threshold {number(limit)}): they "
                "were scaled twice. Scale them once",
                "x = images / 127.5 - 1.0  # from 0 … 255, once",
                evidence={
                    "minimum": tensor.minimum, "maximum": tensor.maximum, "spread": width,
                    "threshold": limit,
                },
            )  # fmt: skip

    def _upper_half(
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
                f"{number(limits['samples'])}) where the pretrained encoder expects {number(low)} "
                f"… {number(high)}: none is below the middle. Shift them",
                f"x = x * {number(high - low)} - {number(-low)}",
                evidence={
                    "minimum": tensor.minimum, "maximum": tensor.maximum,
                    "expected": [low, high], "samples": samples, "threshold": limits["samples"],
                },
            )  # fmt: skip


def _is_first(network: Network, call: LayerCall) -> bool:
    """Whether it scales what comes from the input, at most moved about or augmented."""
    if call.kind not in SCALING or not call.inputs:
        return False
    before = network.upstream(call.inputs)
    return not any(network.leaves[p].parameters for p in before - {call.path}) and not any(
        network.leaves[path].kind in SCALING for path in before - {call.path}
    )


def _shrinks(call: LayerCall, row: ActivationRow, facts: DataFacts) -> bool:
    """Whether the layer made the spread as small as it is; an input can be small by itself."""
    if call.kind == "Rescaling":
        scale = call.config.get("scale")
        return isinstance(scale, (int, float)) and 0 < abs(scale) < 0.1
    if len(facts.inputs) != 1 or not facts.inputs[0].std > 0:
        return False
    return row.std * row.sample_variation < 0.5 * facts.inputs[0].std


def _is_picture(tensor: TensorFacts) -> bool:
    return len(tensor.shape) == 4 and tensor.shape[-1] in (1, 3, 4) and tensor.distinct > 16


def _fine(value: float) -> str:
    """Four digits: numbers about -1 differ in the third."""
    return f"{value:.4g}"
