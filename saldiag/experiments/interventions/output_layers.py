"""The layers that an output's activations are in, and how to give them others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras

from saldiag.core.measurement import LayerCall, Wiring
from saldiag.experiments.interventions.base import NotApplicable
from saldiag.experiments.interventions.change import Swap
from saldiag.experiments.interventions.workbench import Workbench
from saldiag.keras_internals.tensors import history_of

_ACTIVATIONS: dict[type, str] = {
    keras.layers.ReLU: "relu",
    keras.layers.LeakyReLU: "leaky_relu",
    keras.layers.Softmax: "softmax",
    keras.layers.ELU: "elu",
    keras.layers.PReLU: "prelu",
}
"""Layers that are an activation and hold no function to swap."""
_LAST: dict[type, str] = {
    keras.layers.BatchNormalization: "batch_normalization",
    keras.layers.LayerNormalization: "layer_normalization",
}
"""Layers that count as an activation where they come last of all: they move what it says."""
_OPERATIONS = {"Softmax": "softmax", "Sigmoid": "sigmoid", "Tanh": "tanh", "Relu": "relu"}
"""Operations on a functional model's output, by class: ``keras.ops.softmax`` and its like."""
_TRANSPARENT = (
    keras.layers.Reshape, keras.layers.Flatten, keras.layers.Dropout, keras.layers.Permute,
)  # fmt: skip


@dataclass(frozen=True)
class Part:
    """A layer with an activation: ``alone`` if it is nothing else."""

    path: str
    layer: Any
    activation: str
    alone: bool

    def swap(self, function: Callable[..., Any]) -> Swap:
        """The layer with another activation."""
        if hasattr(self.layer, "activation"):
            return Swap(self.layer, "activation", function, tracked=False)

        def call(inputs: Any, *_: Any, **__: Any) -> Any:
            return function(inputs)

        return Swap(self.layer, "call", call, tracked=False)


@dataclass(frozen=True)
class Head:
    """What an output goes through last: parts in the order of the calls."""

    parts: tuple[Part, ...]

    @property
    def activations(self) -> tuple[str, ...]:
        """Their activations, those that do something."""
        return tuple(p.activation for p in self.parts if p.activation not in ("linear", ""))

    @property
    def told(self) -> str:
        """Their activations in words."""
        return " and ".join(dict.fromkeys(self.activations)) or "linear"

    @property
    def place(self) -> str:
        """Where to make the change in the code: the layers whose activation is not none."""
        busy = [p.path for p in self.parts if p.activation not in ("linear", "")]
        return " and ".join(busy or [self.parts[-1].path])


def part_of(path: str, layer: Any) -> Part | None:
    """The layer as a part with an activation; None if it has none."""
    for kind, name in _ACTIVATIONS.items():
        if isinstance(layer, kind):
            return Part(path, layer, name, alone=True)
    function = getattr(layer, "activation", None)
    if function is None or not callable(function):
        return None
    alone = isinstance(layer, keras.layers.Activation)
    return Part(path, layer, str(getattr(function, "__name__", "custom")), alone)


def _operation_of(model: Any, call: LayerCall) -> Part | None:
    """The operation that makes the only output of a functional model, if it is an activation."""
    outputs = getattr(model, "outputs", None) or []
    history = history_of(outputs[0]) if len(outputs) == 1 else None
    name = _OPERATIONS.get(type(getattr(history, "operation", None)).__name__)
    if call.kind != "op" or history is None or name is None:
        return None
    return Part(call.layer, history.operation, name, alone=True)


def _last_of_all(path: str, layer: Any) -> Part | None:
    names = [name for kind, name in _LAST.items() if isinstance(layer, kind)]
    return Part(path, layer, names[0], alone=True) if names else None


def heads_of(lab: Workbench) -> list[Head]:
    """One head for each output.

    Raises:
        NotApplicable: the output is not made by layers whose activation can be changed.
    """
    wiring: Wiring | None = lab.wiring
    if wiring is None:
        raise NotApplicable("how the model is wired is not known")
    if wiring.computed:
        raise NotApplicable("the model computes its output from its layers by code of its own")
    return [_head(lab, wiring, path) for path in wiring.judged or wiring.outputs]


def head_layers(lab: Workbench) -> set[int]:
    """The layers that outputs go through last, by id; none where that is not known."""
    try:
        return {id(part.layer) for head in heads_of(lab) for part in head.parts}
    except NotApplicable:
        return set()


def last_activations(lab: Workbench, count: int) -> list[str]:
    """What was done last to each of ``count`` outputs, as the activation's name or ``linear``.

    Raises:
        NotApplicable: it is not known, or there are not so many outputs.
    """
    try:
        found = [head.activations[-1:] for head in heads_of(lab)]
        names = [last[0] if last else "linear" for last in found]
    except NotApplicable:
        if lab.wiring is None or lab.wiring.computed:
            raise
        names = []
    if len(names) == count:
        return names
    calls = _calls(lab, count)
    if not calls:
        raise NotApplicable(f"there are not as many outputs as targets, which are {count}")
    return [(call and call.activation) or "linear" for call in calls]


def units_of(lab: Workbench, count: int) -> list[int]:
    """The size of each output's last axis, 0 where it is not known."""
    shapes = [call.output_shapes if call else () for call in _calls(lab, count)]
    sizes = [(found[0][-1] or 0) if found and found[0] else 0 for found in shapes]
    return sizes or [0] * count


def _calls(lab: Workbench, count: int) -> list[LayerCall | None]:
    """The calls that make the outputs, if there are so many with a loss, or so many in all."""
    wiring: Wiring | None = lab.wiring
    if wiring is None:
        return []
    paths = next((p for p in (wiring.judged, wiring.outputs) if p and len(p) == count), ())
    return [wiring.call(path) for path in paths]


def _head(lab: Workbench, wiring: Wiring, path: str) -> Head:
    parts: list[Part] = []
    layers = lab.layers
    call: LayerCall | None = wiring.call(path)
    while call is not None:
        layer = layers.get(call.layer)
        if not isinstance(layer, _TRANSPARENT):
            part = part_of(call.layer, layer)
            if part is None and not parts:
                part = _last_of_all(call.layer, layer) or _operation_of(lab.model, call)
            if part is None:
                break
            parts.insert(0, part)
            if not part.alone:
                break
        call = wiring.call(call.inputs[0]) if len(call.inputs) == 1 else None
    if not parts:
        raise NotApplicable("the output's last layer has no activation that could be changed")
    return Head(tuple(parts))
