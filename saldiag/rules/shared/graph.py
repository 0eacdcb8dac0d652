"""The network as a graph of leaf calls: which call feeds which."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable

from saldiag.core.measurement import LayerCall, Wiring

SHAPE_ONLY = frozenset({
    "Activation", "ActivityRegularization", "Cropping1D", "Cropping2D", "Dropout", "Flatten",
    "GaussianDropout", "Identity", "InputLayer", "Permute", "Reshape", "SpatialDropout1D",
    "SpatialDropout2D", "UpSampling1D", "UpSampling2D", "ZeroPadding1D", "ZeroPadding2D",
})  # fmt: skip
"""Layers that rearrange or drop values without computing new ones (a linear ``Activation`` too)."""


def is_shape_only(call: LayerCall) -> bool:
    """Whether the call passes its input on, at most in another shape."""
    return call.kind in SHAPE_ONLY and call.activation in (None, "linear")


def reachable_calls(start: Iterable[str], edges: Callable[[str], Iterable[str] | None]) -> set[str]:
    """The calls of ``start`` and all that ``edges`` lead to from there.

    Args:
        start: paths of calls.
        edges: the next calls of a call; None for a path that is not one.
    """
    seen: set[str] = set()
    waiting = list(start)
    while waiting:
        path = waiting.pop()
        following = None if path in seen else edges(path)
        if following is not None:
            seen.add(path)
            waiting += following
    return seen


class Network:
    """The dataflow of a ``Wiring``; methods return leaf call paths in execution order.

    ``judged`` are the ``outputs`` that have a loss; all outputs if that is unknown.
    """

    def __init__(self, wiring: Wiring) -> None:
        self.leaves = {call.path: call for call in wiring.calls if call.leaf}
        self.outputs = tuple(path for path in wiring.outputs if path in self.leaves)
        judged = wiring.outputs if wiring.judged is None else wiring.judged
        self.judged = tuple(path for path in judged if path in self.leaves)
        self.ignored = {path for output in wiring.ignored or () for path in output.outputs}
        self.computed = frozenset(wiring.computed)
        self.in_losses = tuple(path for path in wiring.in_losses if path in self.leaves)
        self._inputs = {path: call.inputs for path, call in self.leaves.items()}
        self._consumers: dict[str, list[str]] = defaultdict(list)
        for call in self.leaves.values():
            for source in dict.fromkeys(call.inputs):
                self._consumers[source].append(call.path)

    def calls_of(self, layer: str) -> list[str]:
        """The leaf calls of a layer and of the layers inside it."""
        return [
            path
            for path, call in self.leaves.items()
            if not layer or call.layer == layer or call.layer.startswith(f"{layer}/")
        ]

    def consumers(self, path: str) -> list[str]:
        """The leaf calls that use the output of the call at ``path``."""
        return self._consumers.get(path, [])

    def upstream(self, paths: Iterable[str]) -> set[str]:
        """Those calls and all calls that feed them."""
        return reachable_calls(paths, self._inputs.get)

    def downstream(self, paths: Iterable[str]) -> set[str]:
        """Those calls and all calls that they feed."""
        consumers = self._consumers
        return reachable_calls(
            paths, lambda path: consumers.get(path, []) if path in self.leaves else None
        )

    def only_in_losses(self) -> set[str]:
        """The layers used only by an ``add_loss`` loss, not by an output, such as a teacher.

        Such a network can be updated by ``assign``, or stay constant.
        """
        in_outputs = {self.leaves[path].layer for path in self.upstream(self.outputs)}
        return {self.leaves[path].layer for path in self.upstream(self.in_losses)} - in_outputs

    def before(self, path: str) -> LayerCall | None:
        """The one call that feeds ``path``, skipping shape-only calls; None if there are more."""
        seen: set[str] = set()
        call = self.leaves.get(path)
        while call is not None and len(call.inputs) == 1 and call.path not in seen:
            seen.add(call.path)
            call = self.leaves.get(call.inputs[0])
            if call is None or not is_shape_only(call):
                return call
        return None

    def heads(self) -> list[LayerCall]:
        """For each output with a loss, the call that computed it, skipping shape-only calls.

        Outputs computed by operations between layers have none.
        """
        return self._heads_of(self.judged)

    def judged_heads(self) -> list[LayerCall]:
        """The heads of the outputs that actually contribute to the loss."""
        return self._heads_of(path for path in self.judged if path not in self.ignored)

    def _heads_of(self, outputs: Iterable[str]) -> list[LayerCall]:
        found = []
        for path in outputs:
            if path in self.computed:
                continue
            call: LayerCall | None = self.leaves[path]
            if call is not None and is_shape_only(call):
                call = self.before(path)
            if call is not None:
                found.append(call)
        return found
