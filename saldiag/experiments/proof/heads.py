"""The layers that an output's activations are in, and how to give them others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras

from saldiag.core.measurement import LayerCall, Wiring
from saldiag.experiments.proof.change import Swap
from saldiag.experiments.proof.intervention import NotApplicable

_ACTIVATIONS: dict[type, str] = {
    keras.layers.ReLU: "relu",
    keras.layers.LeakyReLU: "leaky_relu",
    keras.layers.Softmax: "softmax",
    keras.layers.ELU: "elu",
    keras.layers.PReLU: "prelu",
}
"""Layers that are an activation and hold no function to swap."""
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


def heads_of(lab: Any) -> list[Head]:
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


def _head(lab: Any, wiring: Wiring, path: str) -> Head:
    parts: list[Part] = []
    layers = lab.layers
    call: LayerCall | None = wiring.call(path)
    while call is not None:
        layer = layers.get(call.layer)
        if not isinstance(layer, _TRANSPARENT):
            part = part_of(call.layer, layer)
            if part is None:
                break
            parts.insert(0, part)
            if not part.alone:
                break
        call = wiring.call(call.inputs[0]) if len(call.inputs) == 1 else None
    if not parts:
        raise NotApplicable("the output's last layer has no activation that could be changed")
    return Head(tuple(parts))
