"""SD104: parallel depthwise branches with identical kernels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds, source_of
from saldiag.core.measurement import LayerCall, Measurements, Wiring
from saldiag.core.wording import at_line, counted, label, listed
from saldiag.rules.shared.graph import Network

Setting = tuple[Any, ...]
"""Kernel size, strides and dilation rate of a convolution."""


class IdenticalBranches(Rule):
    """Parallel depthwise convolutions all have the same kernel size.

    ## What it does
    Finds depthwise convolutions that take the same input, meet again in one concatenation, and all
    have the same kernel size, stride and dilation. Other kinds of parallel layers are ignored:
    several equal ones are intended in attention (query, key, value), in grouped convolutions and in
    output layers.

    ## Why is this bad
    Parallel depthwise branches look at the same channels at several scales. With equal kernel sizes
    they look at only one scale, and k branches cost as much as one with ``depth_multiplier=k``. The
    usual cause is a constant index into the list of sizes.

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
    - `branches` = 2: number of equal branches that is reported (branches of several sizes: Szegedy
      et al., Going deeper with convolutions, 2015).
    """

    code = "SD104"
    name = "identical-branches"
    severity = "warning"
    requires = (Wiring,)
    thresholds = {"branches": 2}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        groups = [
            group
            for group in _parallel_branches(Network(measured.need(Wiring)))
            if len(group) >= limits["branches"] and len({_setting(call) for call in group}) == 1
        ]
        if not groups:
            return
        layers = [call.layer for group in groups for call in group]
        size = _setting(groups[0][0])[0]
        source = source_of(measured, layers[0])
        yield self.finding(
            f"{listed(layers)}: parallel depthwise branches with the same kernel size in "
            f"{counted(len(groups), 'block')}; the first block has {len(groups[0])} branches with "
            f"kernel size {size} (threshold {limits['branches']:.0f}). Give each branch its own "
            f"kernel size{at_line(source)}",
            f"kernel_size=sizes[i]  # in {label(layers[0])}: another size for each branch",
            layers=layers,
            evidence={
                "groups": [[call.layer for call in group] for group in groups],
                "kernel_size": size,
                "branches": max(len(group) for group in groups),
                "threshold": limits["branches"],
            },
            source=source,
        )


def _setting(call: LayerCall) -> Setting:
    return tuple(
        _hashable(call.config.get(name)) for name in ("kernel_size", "strides", "dilation_rate")
    )


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, (list, tuple)) else value


def _parallel_branches(network: Network) -> list[list[LayerCall]]:
    """Depthwise convolutions, grouped by their input and the concatenation they lead to."""
    groups: dict[tuple[tuple[str, ...], str], list[LayerCall]] = defaultdict(list)
    for call in network.leaves.values():
        if call.kind.startswith("DepthwiseConv") and call.config.get("kernel_size") is not None:
            concatenation = _concatenation_after(network, call)
            if concatenation is not None:
                groups[call.inputs, concatenation].append(call)
    return list(groups.values())


def _concatenation_after(network: Network, call: LayerCall) -> str | None:
    """The concatenation that the call leads to, through calls with one input and one consumer.

    None for a sum: equal branches that are added up are intended (Vasu et al., MobileOne, 2023).
    """
    path = call.path
    for _ in network.leaves:  # no path is longer
        following = network.consumers(path)
        if len(following) != 1:
            break
        path = following[0]
        if len(set(network.leaves[path].inputs)) > 1:
            return path if network.leaves[path].kind == "Concatenate" else None
    return None
