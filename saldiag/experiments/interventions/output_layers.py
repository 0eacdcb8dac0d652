"""The layers that apply an output's activations, and how to replace the activations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras

from saldiag.core.measurement import LayerCall, Wiring
from saldiag.experiments.interventions.base import NotApplicable
from saldiag.experiments.interventions.change import Swap
from saldiag.experiments.interventions.workbench import Workbench
from saldiag.keras_internals.graphs import history_of

_ACTIVATION_LAYERS: dict[type, str] = {
    keras.layers.ReLU: "relu",
    keras.layers.LeakyReLU: "leaky_relu",
    keras.layers.Softmax: "softmax",
    keras.layers.ELU: "elu",
    keras.layers.PReLU: "prelu",
}
"""Layers that apply an activation but have no ``activation`` attribute to replace."""
_NORMALIZATION_LAYERS: dict[type, str] = {
    keras.layers.BatchNormalization: "batch_normalization",
    keras.layers.LayerNormalization: "layer_normalization",
}
"""Normalisations. As the last layer they count as an activation: they shift its output."""
_ACTIVATION_OPERATIONS = {
    "Softmax": "softmax",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "Relu": "relu",
}
"""Operations on a functional model's output (such as ``keras.ops.softmax``), by class name."""
_PASS_THROUGH_LAYERS = (
    keras.layers.Reshape, keras.layers.Flatten, keras.layers.Dropout, keras.layers.Permute,
)  # fmt: skip
"""Layers that an activation is looked for behind: they leave its range unchanged."""


@dataclass(frozen=True)
class ActivationLayer:
    """A layer that applies an activation."""

    path: str
    """Path of the layer."""
    layer: Any
    """The Keras layer, or the operation on a functional model's output."""
    activation: str
    """Name of the activation, such as ``relu``; ``linear`` if it changes nothing."""
    only_activation: bool
    """Whether the layer does nothing else."""

    def swap_activation(self, function: Callable[..., Any]) -> Swap:
        """A swap that gives the layer another activation."""
        if hasattr(self.layer, "activation"):
            return Swap(self.layer, "activation", function, tracked=False)

        def call(inputs: Any, *_: Any, **__: Any) -> Any:
            return function(inputs)

        return Swap(self.layer, "call", call, tracked=False)


@dataclass(frozen=True)
class OutputHead:
    """The activations that an output passes through last."""

    layers: tuple[ActivationLayer, ...]
    """At least one layer, in the order of the calls."""

    @property
    def activations(self) -> tuple[str, ...]:
        """Names of the activations other than ``linear``, in order."""
        return tuple(p.activation for p in self.layers if p.activation not in ("linear", ""))

    @property
    def activation_names(self) -> str:
        """The activations in words: ``sigmoid and softmax``, or ``linear``."""
        return " and ".join(dict.fromkeys(self.activations)) or "linear"

    @property
    def layer_names(self) -> str:
        """Paths of the layers to edit in the code: those with an activation, else the last."""
        active = [p.path for p in self.layers if p.activation not in ("linear", "")]
        return " and ".join(active or [self.layers[-1].path])


def activation_layer(path: str, layer: Any) -> ActivationLayer | None:
    """The layer with its activation; None if it applies none."""
    for kind, name in _ACTIVATION_LAYERS.items():
        if isinstance(layer, kind):
            return ActivationLayer(path, layer, name, only_activation=True)
    function = getattr(layer, "activation", None)
    if function is None or not callable(function):
        return None
    only_activation = isinstance(layer, keras.layers.Activation)
    return ActivationLayer(
        path, layer, str(getattr(function, "__name__", "custom")), only_activation
    )


def _output_operation(model: Any, call: LayerCall) -> ActivationLayer | None:
    """The operation that computes a functional model's only output, if it is an activation."""
    outputs = getattr(model, "outputs", None) or []
    history = history_of(outputs[0]) if len(outputs) == 1 else None
    name = _ACTIVATION_OPERATIONS.get(type(getattr(history, "operation", None)).__name__)
    if call.kind != "op" or history is None or name is None:
        return None
    return ActivationLayer(call.layer, history.operation, name, only_activation=True)


def _normalization_layer(path: str, layer: Any) -> ActivationLayer | None:
    names = [name for kind, name in _NORMALIZATION_LAYERS.items() if isinstance(layer, kind)]
    return ActivationLayer(path, layer, names[0], only_activation=True) if names else None


def output_heads(lab: Workbench) -> list[OutputHead]:
    """The output layers of each output that has a loss, or of every output.

    Raises:
        NotApplicable: an output does not come from a layer whose activation can be changed.
    """
    wiring: Wiring | None = lab.wiring
    if wiring is None:
        raise NotApplicable("the connections between the model's layers are unknown")
    if wiring.computed:
        raise NotApplicable("the output is computed outside the model's layers")
    return [_trace_head(lab, wiring, path) for path in wiring.judged or wiring.outputs]


def output_layer_ids(lab: Workbench) -> set[int]:
    """``id()`` of the output layers; empty where they are unknown."""
    try:
        return {id(part.layer) for head in output_heads(lab) for part in head.layers}
    except NotApplicable:
        return set()


def last_activations(lab: Workbench, count: int) -> list[str]:
    """Name of the last activation of each output, ``linear`` for none.

    Args:
        lab: the model under test.
        count: number of targets.

    Raises:
        NotApplicable: the activations are unknown, or there are not ``count`` outputs.
    """
    try:
        found = [head.activations[-1:] for head in output_heads(lab)]
        names = [last[0] if last else "linear" for last in found]
    except NotApplicable:
        if lab.wiring is None or lab.wiring.computed:
            raise
        names = []
    if len(names) == count:
        return names
    calls = _output_calls(lab, count)
    if not calls:
        raise NotApplicable(f"the number of outputs differs from the number of targets ({count})")
    return [(call and call.activation) or "linear" for call in calls]


def output_units(lab: Workbench, count: int) -> list[int]:
    """The size of the last axis of each of ``count`` outputs, 0 where it is unknown."""
    shapes = [call.output_shapes if call else () for call in _output_calls(lab, count)]
    sizes = [(found[0][-1] or 0) if found and found[0] else 0 for found in shapes]
    return sizes or [0] * count


def _output_calls(lab: Workbench, count: int) -> list[LayerCall | None]:
    """The calls that compute the outputs, if ``count`` outputs have a loss or exist in all."""
    wiring: Wiring | None = lab.wiring
    if wiring is None:
        return []
    paths = next((p for p in (wiring.judged, wiring.outputs) if p and len(p) == count), ())
    return [wiring.call(path) for path in paths]


def _trace_head(lab: Workbench, wiring: Wiring, path: str) -> OutputHead:
    """Walk back from an output over activations, up to the layer that computes its values."""
    found: list[ActivationLayer] = []
    layers = lab.layers
    call: LayerCall | None = wiring.call(path)
    while call is not None:
        layer = layers.get(call.layer)
        if not isinstance(layer, _PASS_THROUGH_LAYERS):
            active = activation_layer(call.layer, layer)
            if active is None and not found:
                active = _normalization_layer(call.layer, layer) or _output_operation(
                    lab.model, call
                )
            if active is None:
                break
            found.insert(0, active)
            if not active.only_activation:
                break
        call = wiring.call(call.inputs[0]) if len(call.inputs) == 1 else None
    if not found:
        raise NotApplicable("the output layer has no activation that can be changed")
    return OutputHead(tuple(found))
