"""SD104: parallel depthwise branches that are all the same."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds, source_of
from saldiag.core.measurement import LayerCall, Measurements, Wiring
from saldiag.rules.shared.graph import Network
from saldiag.rules.shared.wording import at, counted, label, listed

Shape = tuple[Any, ...]


class IdenticalBranches(Rule):
    """Depthwise convolutions stand side by side and have the same kernel size.

    ## What it does
    Finds depthwise convolutions that take the same input, meet again in one concatenation, and
    agree in kernel size, stride and dilation, all of them. Other kinds of parallel layers are left
    alone: several equal ones are meant in attention (query, key, value), in grouped convolutions
    and in heads.

    ## Why is this bad
    Parallel depthwise branches exist to see the same channels at several scales. When all have the
    same size they see one scale, and k branches cost what one with ``depth_multiplier=k`` does. The
    usual cause is a list of sizes that is indexed with a constant.

    ## Example
    ```python
    sizes = [1, 3, 5]
    branches = [keras.layers.DepthwiseConv2D(sizes[0], padding="same")(x) for _ in sizes]
    ```

    ## Use instead
    ```python
    sizes = [1, 3, 5]
    branches = [keras.layers.DepthwiseConv2D(size, padding="same")(x) for size in sizes]
    ```

    ## Threshold
    - `branches` = 2: equal branches that make a group (branches of several sizes: Szegedy et al.,
      Going deeper with convolutions, 2015).
    """

    code = "SD104"
    name = "identical-branches"
    severity = "warning"
    requires = (Wiring,)
    thresholds = {"branches": 2}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        groups = [
            group
            for group in _parallel(Network(measured.need(Wiring)))
            if len(group) >= limits["branches"] and len({_shape(call) for call in group}) == 1
        ]
        if not groups:
            return
        layers = [call.layer for group in groups for call in group]
        size = _shape(groups[0][0])[0]
        source = source_of(measured, layers[0])
        yield self.finding(
            f"{counted(len(groups), 'block')} with parallel depthwise branches of one size: "
            f"{listed(layers)}; the first has {len(groups[0])}, all with kernel size {size} "
            f"(threshold {limits['branches']:.0f}). Give each its own size{at(source)}",
            f"kernel_size=size  # for size in the list of sizes, in {label(layers[0])}",
            layers=layers,
            evidence={
                "groups": [[call.layer for call in group] for group in groups],
                "kernel_size": size,
                "branches": max(len(group) for group in groups),
                "threshold": limits["branches"],
            },
            source=source,
        )


def _shape(call: LayerCall) -> Shape:
    return tuple(
        _plain(call.config.get(name)) for name in ("kernel_size", "strides", "dilation_rate")
    )


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, (list, tuple)) else value


def _parallel(network: Network) -> list[list[LayerCall]]:
    """Depthwise convolutions with the same input that meet in the same call."""
    groups: dict[tuple[tuple[str, ...], str], list[LayerCall]] = defaultdict(list)
    for call in network.leaves.values():
        if call.kind.startswith("DepthwiseConv") and call.config.get("kernel_size") is not None:
            meeting = _meeting(network, call)
            if meeting is not None:
                groups[call.inputs, meeting].append(call)
    return list(groups.values())


def _meeting(network: Network, call: LayerCall) -> str | None:
    """The concatenation that the call leads to, through calls with one input and one consumer.

    A sum is left alone: equal branches that are added up are meant (Vasu et al., MobileOne, 2023).
    """
    path = call.path
    for _ in network.leaves:  # no path is longer than that
        following = network.consumers(path)
        if len(following) != 1:
            break
        path = following[0]
        if len(set(network.leaves[path].inputs)) > 1:
            return path if network.leaves[path].kind == "Concatenate" else None
    return None
