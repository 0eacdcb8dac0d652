"""Gradient cuts: layers that receive a gradient but pass none on, up to rounding error.

A derivative that is mathematically 0 is not always 0.0 in TensorFlow: its softmax over one channel
returns 0.99999994 on a CPU (a vectorised reciprocal) and passes 6e-8 of the gradient, or 4e-15
where two follow each other. Such a remainder is rounding error and moves no weight.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from saldiag.core.measurement import FlowRow, GradientFlow, GradientHistory, Wiring

LIMITS: dict[str, float] = {"rounding": 1e-6, "lifted": 1e-3}
"""``rounding``: share of |dL/d(output)| up to which |dL/d(input)| counts as rounding error.
``lifted``: share of |dL/d(output)| above which the gradient of the layer's own weights moves them,
and the next step passes a gradient on."""


@dataclass(frozen=True)
class Cut:
    """A layer call that passes no gradient on, and the trainable layers that get none."""

    row: FlowRow
    """The gradient flow through the call."""
    starving: tuple[str, ...]
    """Trainable layers before the cut, without a gradient."""
    around: tuple[str, ...] = ()
    """Trainable layers on other paths that get a gradient; empty if the cut is on the only path."""


def without_any_gradient(history: GradientHistory, steps: int = 3) -> bool:
    """Whether every variable had a gradient of exactly 0, in ``steps`` or more recorded steps."""
    norms = np.nan_to_num(history.norm, nan=0.0)
    return len(norms) >= steps and not norms.any()


def cuts(
    flow: GradientFlow,
    wiring: Wiring | None = None,
    history: GradientHistory | None = None,
    limits: Mapping[str, float] = LIMITS,
) -> list[Cut]:
    """The cuts that leave trainable layers without a gradient, in execution order.

    Without the wiring, the calls are treated as a chain. A layer that got a gradient in any step of
    ``history`` is not starving.
    """
    call_graph = _CallGraph(flow, wiring)
    own_norms = _largest_weight_gradients(flow)
    dying = {row.path: row for row in flow.rows if _passes_no_gradient(row, own_norms, limits)}
    reached = call_graph.upstream(call_graph.outputs, frozenset(dying))
    ends = {path for path, row in dying.items() if not _gets_own_gradient(row, own_norms, limits)}
    reached_layers = _LayerTree(call_graph.layers(reached - ends))
    trainable = tuple(dict.fromkeys(variable.layer for variable in flow.variables))
    signal = max((row.output_gradient or 0.0 for row in flow.rows), default=0.0)
    highest_recorded = _largest_recorded_gradients(history)
    # A layer is starving if no recorded step gave it much more than the rounding error in ``flow``.
    starving = [
        layer
        for layer in trainable
        if layer not in reached_layers
        and highest_recorded.get(layer, 0.0)
        <= max(1000 * own_norms[layer], limits["rounding"] * signal)
    ]
    # A call behind another cut only receives that cut's rounding error: it is no separate cut.
    first = [row for path, row in dying.items() if path in reached]
    found = [_cut_at(row, call_graph, trainable, starving, reached_layers) for row in first]
    return [cut for cut in found if cut.starving]


def _cut_at(
    row: FlowRow,
    call_graph: _CallGraph,
    trainable: Sequence[str],
    starving: Sequence[str],
    reached_layers: _LayerTree,
) -> Cut:
    before = _LayerTree(call_graph.layers(call_graph.upstream([row.path])))
    after = _LayerTree(call_graph.layers(call_graph.downstream(row.path)))
    starves = frozenset(starving)
    return Cut(
        row,
        starving=tuple(layer for layer in starving if layer in before),
        around=tuple(
            layer
            for layer in trainable
            if layer in reached_layers and layer not in starves and layer not in after
        ),
    )


def no_gradient(flow: GradientFlow, wiring: Wiring | None = None) -> bool:
    """Whether no trainable variable has a gradient, up to rounding error: steps change nothing.

    Also True if nothing is trainable.
    """
    if all(not variable.norm for variable in flow.variables):
        return True
    starving = {layer for cut in cuts(flow, wiring) for layer in cut.starving}
    return all(variable.layer in starving or not variable.norm for variable in flow.variables)


class _CallGraph:
    """The graph of leaf calls: which call feeds which."""

    def __init__(self, flow: GradientFlow, wiring: Wiring | None) -> None:
        leaves = [row for row in flow.rows if row.leaf]
        self.layer_of = {row.path: row.layer for row in leaves}
        if wiring is not None:
            calls = [call for call in wiring.calls if call.leaf]
            self.inputs = {call.path: call.inputs for call in calls}
            self.layer_of |= {call.path: call.layer for call in calls}
            self.outputs = wiring.outputs
        else:
            paths = [row.path for row in leaves]
            self.inputs = {path: tuple(paths[:i][-1:]) for i, path in enumerate(paths)}
            self.outputs = tuple(paths[-1:])

    def upstream(self, paths: Iterable[str], stop: frozenset[str] = frozenset()) -> set[str]:
        """Those calls and all calls before them, not going past ``stop``."""
        return _reachable_calls(paths, {p: () if p in stop else i for p, i in self.inputs.items()})

    def downstream(self, path: str) -> set[str]:
        """That call and all calls after it."""
        consumers: dict[str, list[str]] = {known: [] for known in self.inputs}
        for consumer, inputs in self.inputs.items():
            for source in inputs:
                consumers.setdefault(source, []).append(consumer)
        return _reachable_calls([path], consumers)

    def layers(self, paths: Iterable[str]) -> set[str]:
        """The layers of those calls."""
        return {self.layer_of[path] for path in paths}


def _reachable_calls(start: Iterable[str], edges: Mapping[str, Iterable[str]]) -> set[str]:
    seen: set[str] = set()
    waiting = list(start)
    while waiting:
        path = waiting.pop()
        if path in edges and path not in seen:
            seen.add(path)
            waiting += edges[path]
    return seen


def _largest_weight_gradients(flow: GradientFlow) -> dict[str, float]:
    """The largest gradient norm among each layer's own variables."""
    found: dict[str, float] = defaultdict(float)
    for variable in flow.variables:
        found[variable.layer] = max(found[variable.layer], variable.norm or 0.0)
    return found


def _passes_no_gradient(
    row: FlowRow, own_norms: Mapping[str, float], limits: Mapping[str, float]
) -> bool:
    """Whether the call receives a gradient and passes none on, up to rounding error."""
    out, into = row.output_gradient, row.input_gradient
    if not row.leaf or not row.differentiable_input or row.skipped or not out:
        return False
    if not np.isfinite(out):
        return False
    if into is None:
        return True
    return into <= limits["rounding"] * out and not _gets_own_gradient(row, own_norms, limits)


def _gets_own_gradient(
    row: FlowRow, own_norms: Mapping[str, float], limits: Mapping[str, float]
) -> bool:
    """Whether the layer's own weights get a gradient: after the next step it passes one on."""
    return own_norms.get(row.layer, 0.0) > limits["lifted"] * (row.output_gradient or 0.0)


class _LayerTree:
    """Layers with their parents and everything inside them (a cell inside its LSTM)."""

    def __init__(self, layers: Iterable[str]) -> None:
        self._layers = frozenset(layers)
        self._holders = frozenset(
            path for layer in self._layers for path in _layer_and_parents(layer)
        )

    def __contains__(self, layer: str) -> bool:
        return layer in self._holders or any(
            path in self._layers for path in _layer_and_parents(layer)
        )


def _layer_and_parents(layer: str) -> list[str]:
    """The paths of the layer and its parents, without the model."""
    parts = layer.split("/")
    return ["/".join(parts[:count]) for count in range(len(parts), 0, -1)]


def _largest_recorded_gradients(history: GradientHistory | None) -> dict[str, float]:
    """The largest gradient norm of each layer's variables over the recorded steps."""
    most: dict[str, float] = defaultdict(float)
    if history is not None and len(history.steps):
        highest = np.nan_to_num(history.norm, nan=0.0).max(axis=0)
        for variable, norm in zip(history.variables, highest, strict=True):
            most[variable.layer] = max(most[variable.layer], float(norm))
    return most
