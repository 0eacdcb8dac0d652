"""SD105: the network that the weights come from was built in another way."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds, source_of
from saldiag.core.measurement import Measurements, Origin, Wiring
from saldiag.rules.shared.wording import at, counted, label


class DiffersFromWeightsSource(Rule):
    """Layers hold the weights of another network, and stand otherwise than there.

    ## What it does
    Compares every layer that holds (or stands in the place of) a pretrained network's layer with
    that layer: stride, kernel size, the activation that follows. One finding for each aspect that
    differs. Where the weights were not copied it is only told (info).

    ## Why is this bad
    Weights are right only for the network they were trained in. A stride moved to another layer
    changes the scale at which every later filter sees the picture; ReLU in place of ReLU6 hands on
    values that no later layer has ever seen. The features get worse without any error.

    ## Example
    ```python
    x = keras.layers.DepthwiseConv2D(3, strides=1, padding="same")(x)  # MobileNetV2 has 2 here
    ```

    ## Use instead
    ```python
    x = keras.layers.DepthwiseConv2D(3, strides=2, padding="same")(x)
    ```

    ## Threshold
    None, it is exact (MobileNetV2's strides and ReLU6: Sandler et al., MobileNetV2: Inverted
    Residuals and Linear Bottlenecks, 2018, table 2).
    """

    code = "SD105"
    name = "differs-from-weights-source"
    severity = "warning"
    requires = (Wiring,)

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        origins = measured.need(Wiring).origins
        if not origins:
            raise CannotJudge("the model is not known to hold or follow another network's weights")
        for aspect, differing in sorted(_by_aspect(origins).items()):
            yield self._differs(measured, aspect, differing)

    def _differs(self, measured: Measurements, aspect: str, origins: Sequence[Origin]) -> Finding:
        first = next((origin for origin in origins if origin.copied), origins[0])
        here, there = _plain(first.here[aspect]), _plain(first.there[aspect])
        copied = any(origin.copied for origin in origins)
        source = source_of(measured, first.layer)
        return self.finding(
            f"{aspect} differs from {label(first.network)} in {counted(len(origins), 'layer')}"
            f"{' with its weights' if copied else ''}: {label(first.layer)} has {here}, "
            f"{label(first.source_layer or '?')} there has {there}. "
            f"Use {label(first.network)}'s{at(source)}",
            f"{aspect}={there!r}  # in {label(first.layer)}",
            layers=[origin.layer for origin in origins],
            evidence={
                "aspect": aspect,
                "copied": copied,
                "layers": [
                    {
                        "layer": o.layer,
                        "here": _plain(o.here[aspect]),
                        "there": _plain(o.there[aspect]),
                    }
                    for o in origins
                ],
            },
            source=source,
            severity="warning" if copied else "info",
        )


def _by_aspect(origins: Iterable[Origin]) -> dict[str, list[Origin]]:
    differing: dict[str, list[Origin]] = defaultdict(list)
    for origin in origins:
        for aspect in origin.here.keys() & origin.there.keys():
            if _plain(origin.here[aspect]) != _plain(origin.there[aspect]):
                differing[aspect].append(origin)
    return differing


def _plain(value: Any) -> Any:
    """Lists and tuples of equal numbers are one number: ``[2, 2]`` is ``2``."""
    if isinstance(value, (list, tuple)):
        return value[0] if len(set(value)) == 1 else tuple(value)
    return value
