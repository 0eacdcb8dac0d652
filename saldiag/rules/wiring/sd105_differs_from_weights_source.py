"""SD105: layers with pretrained weights that are configured differently from the original."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds, source_of
from saldiag.core.measurement import Measurements, Origin, Wiring
from saldiag.core.wording import at_line, counted, label


class DiffersFromWeightsSource(Rule):
    """Layers with another network's weights have other settings than in that network.

    ## What it does
    Compares each layer that holds the weights of a pretrained network's layer, or takes its place,
    with that layer: stride, kernel size and the activation that follows. Each setting that differs
    makes one finding. Where no weights were copied, the finding is only an info.

    ## Why is this bad
    Weights fit only the network that they were trained in. A stride moved to another layer changes
    the scale at which every later filter sees the image. ReLU in place of ReLU6 lets values through
    that the later layers never saw in training. The features get worse without any error.

    ## Example
    ```python
    x = keras.layers.DepthwiseConv2D(3, strides=1, padding="same")(x)  # MobileNetV2 has 2 here
    ```

    ## Use instead
    ```python
    x = keras.layers.DepthwiseConv2D(3, strides=2, padding="same")(x)
    ```

    ## Threshold
    None, the check is exact (MobileNetV2's strides and ReLU6: Sandler et al., MobileNetV2: Inverted
    Residuals and Linear Bottlenecks, 2018, table 2).
    """

    code = "SD105"
    name = "differs-from-weights-source"
    severity = "warning"
    requires = (Wiring,)

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        origins = measured.need(Wiring).origins
        if not origins:
            raise CannotJudge("the model is not known to use another network's weights")
        for aspect, differing in sorted(_differing_by_aspect(origins).items()):
            yield self._finding_of_aspect(measured, aspect, differing)

    def _finding_of_aspect(
        self, measured: Measurements, aspect: str, origins: Sequence[Origin]
    ) -> Finding:
        first = next((origin for origin in origins if origin.copied), origins[0])
        here, there = _comparable(first.here[aspect]), _comparable(first.there[aspect])
        copied = any(origin.copied for origin in origins)
        source = source_of(measured, first.layer)
        return self.finding(
            f"{aspect} differs from {label(first.network)} in {counted(len(origins), 'layer')}"
            f"{' with its weights' if copied else ''}: {label(first.layer)} has {here}, "
            f"{label(first.source_layer or '?')} of {label(first.network)} has {there}. "
            f"Use {there}{at_line(source)}",
            f"{aspect}={there!r}  # in {label(first.layer)}",
            layers=[origin.layer for origin in origins],
            evidence={
                "aspect": aspect,
                "copied": copied,
                "layers": [
                    {
                        "layer": o.layer,
                        "here": _comparable(o.here[aspect]),
                        "there": _comparable(o.there[aspect]),
                    }
                    for o in origins
                ],
            },
            source=source,
            severity="warning" if copied else "info",
        )


def _differing_by_aspect(origins: Iterable[Origin]) -> dict[str, list[Origin]]:
    differing: dict[str, list[Origin]] = defaultdict(list)
    for origin in origins:
        for aspect in origin.here.keys() & origin.there.keys():
            if _comparable(origin.here[aspect]) != _comparable(origin.there[aspect]):
                differing[aspect].append(origin)
    return differing


def _comparable(value: Any) -> Any:
    """A list or tuple of equal numbers as one number: ``[2, 2]`` is ``2``."""
    if isinstance(value, (list, tuple)):
        return value[0] if len(set(value)) == 1 else tuple(value)
    return value
