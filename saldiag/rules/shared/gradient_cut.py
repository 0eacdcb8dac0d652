"""Where the gradient dies: layers that get one and hand none on, up to rounding.

A derivative that is 0 in mathematics is not always 0.0 in TensorFlow: its softmax over one channel
gives 0.99999994 on a CPU (a vectorised reciprocal), and lets 6e-8 of the gradient through, or
4e-15 where two follow each other. Such a rest is rounding; it moves nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from saldiag.core.measurement import FlowRow, GradientFlow, GradientHistory, Wiring

LIMITS: dict[str, float] = {"rounding": 1e-6, "lifted": 1e-3}
"""``rounding``: share of |dL/d(output)| below which |dL/d(input)| is rounding, and no gradient.
``lifted``: share of it above which a gradient of the layer's own weights will lift the zero."""


@dataclass(frozen=True)
class Cut:
    """A layer call where the gradient dies, and the trainable layers up to it that get none.

    ``around`` are trainable layers beside it that do get a gradient: it is not the only way.
    """

    row: FlowRow
    starving: tuple[str, ...]
    around: tuple[str, ...] = ()


def without_any_gradient(history: GradientHistory, steps: int = 3) -> bool:
    """Whether in at least ``steps`` recorded steps no variable got any gradient, exactly."""
    norms = np.nan_to_num(history.norm, nan=0.0)
    return len(norms) >= steps and not norms.any()


def cuts(
    flow: GradientFlow,
    wiring: Wiring | None = None,
    history: GradientHistory | None = None,
    limits: Mapping[str, float] = LIMITS,
) -> list[Cut]:
    """The cuts that leave trainable layers without a gradient, in execution order.

    Without the wiring the calls are taken for a chain. A layer that got a gradient at some step of
    ``history`` does not starve.
    """
    feeds = _Feeds(flow, wiring)
    own = _own(flow)
    dying = {row.path: row for row in flow.rows if _dies(row, own, limits)}
    reached = feeds.upstream(feeds.outputs, frozenset(dying))
    ends = {path for path, row in dying.items() if not _feeds_itself(row, own, limits)}
    fed = _Places(feeds.layers(reached - ends))
    trainable = tuple(dict.fromkeys(variable.layer for variable in flow.variables))
    signal = max((row.output_gradient or 0.0 for row in flow.rows), default=0.0)
    later = _most(history)
    # A layer starves if no recorded step gave it far more than the rounding that the flow saw.
    starving = [
        layer
        for layer in trainable
        if layer not in fed
        and later.get(layer, 0.0) <= max(1000 * own[layer], limits["rounding"] * signal)
    ]
    # What lies behind another cut gets nothing but that one's rounding: no cut of its own.
    first = [row for path, row in dying.items() if path in reached]
    found = [_cut(row, feeds, trainable, starving, fed) for row in first]
    return [cut for cut in found if cut.starving]


def _cut(
    row: FlowRow, feeds: _Feeds, trainable: Sequence[str], starving: Sequence[str], fed: _Places
) -> Cut:
    before = _Places(feeds.layers(feeds.upstream([row.path])))
    after = _Places(feeds.layers(feeds.downstream(row.path)))
    starves = frozenset(starving)
    return Cut(
        row,
        starving=tuple(layer for layer in starving if layer in before),
        around=tuple(
            layer
            for layer in trainable
            if layer in fed and layer not in starves and layer not in after
        ),
    )


def no_gradient(flow: GradientFlow, wiring: Wiring | None = None) -> bool:
    """Whether no trainable variable has a gradient, up to rounding: no step will change anything.

    True as well where there is nothing trainable.
    """
    if all(not variable.norm for variable in flow.variables):
        return True
    starving = {layer for cut in cuts(flow, wiring) for layer in cut.starving}
    return all(variable.layer in starving or not variable.norm for variable in flow.variables)


class _Feeds:
    """Which leaf call feeds which."""

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
        """Those calls and all before them, going no further than ``stop``."""
        return _reach(paths, {p: () if p in stop else i for p, i in self.inputs.items()})

    def downstream(self, path: str) -> set[str]:
        """That call and all after it."""
        consumers: dict[str, list[str]] = {known: [] for known in self.inputs}
        for consumer, inputs in self.inputs.items():
            for source in inputs:
                consumers.setdefault(source, []).append(consumer)
        return _reach([path], consumers)

    def layers(self, paths: Iterable[str]) -> set[str]:
        """The layers of those calls."""
        return {self.layer_of[path] for path in paths}


def _reach(start: Iterable[str], edges: Mapping[str, Iterable[str]]) -> set[str]:
    seen: set[str] = set()
    waiting = list(start)
    while waiting:
        path = waiting.pop()
        if path in edges and path not in seen:
            seen.add(path)
            waiting += edges[path]
    return seen


def _own(flow: GradientFlow) -> dict[str, float]:
    """The largest gradient of each layer's own variables."""
    found: dict[str, float] = defaultdict(float)
    for variable in flow.variables:
        found[variable.layer] = max(found[variable.layer], variable.norm or 0.0)
    return found


def _dies(row: FlowRow, own: Mapping[str, float], limits: Mapping[str, float]) -> bool:
    out, into = row.output_gradient, row.input_gradient
    if not row.leaf or not row.differentiable_input or row.skipped or not out:
        return False
    if not np.isfinite(out):
        return False
    if into is None:
        return True
    return into <= limits["rounding"] * out and not _feeds_itself(row, own, limits)


def _feeds_itself(row: FlowRow, own: Mapping[str, float], limits: Mapping[str, float]) -> bool:
    """Whether the layer's own weights get a gradient, and so its next step lifts the zero."""
    return own.get(row.layer, 0.0) > limits["lifted"] * (row.output_gradient or 0.0)


class _Places:
    """Layers, with those that hold them and those inside them (a cell inside its LSTM)."""

    def __init__(self, layers: Iterable[str]) -> None:
        self._layers = frozenset(layers)
        self._holders = frozenset(path for layer in self._layers for path in _upward(layer))

    def __contains__(self, layer: str) -> bool:
        return layer in self._holders or any(path in self._layers for path in _upward(layer))


def _upward(layer: str) -> list[str]:
    """The layer's path and those of all layers around it but the model."""
    parts = layer.split("/")
    return ["/".join(parts[:count]) for count in range(len(parts), 0, -1)]


def _most(history: GradientHistory | None) -> dict[str, float]:
    """The largest gradient that each layer's variables had at any recorded step."""
    most: dict[str, float] = defaultdict(float)
    if history is not None and len(history.steps):
        highest = np.nan_to_num(history.norm, nan=0.0).max(axis=0)
        for variable, norm in zip(history.variables, highest, strict=True):
            most[variable.layer] = max(most[variable.layer], float(norm))
    return most
