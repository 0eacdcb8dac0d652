"""Other activations in the hidden layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import keras

from saldiag.core.wording import counted
from saldiag.experiments.interventions.base import Intervention, NotApplicable
from saldiag.experiments.interventions.change import Change
from saldiag.experiments.interventions.output_layers import (
    ActivationLayer,
    activation_layer,
    output_layer_ids,
)
from saldiag.experiments.interventions.workbench import Workbench


def _hidden_activations(lab: Workbench) -> list[ActivationLayer]:
    """Layers with an activation other than the output's own."""
    heads = output_layer_ids(lab)
    found = (
        activation_layer(path, layer)
        for path, layer in lab.layers.items()
        if id(layer) not in heads
    )
    return [layer for layer in found if layer is not None]


def _replace_activations(
    layers: Sequence[ActivationLayer], description: str, function: Callable[..., Any]
) -> Change:
    return Change(
        description,
        tuple(layer.path for layer in layers),
        tuple(layer.swap_activation(function) for layer in layers),
    )


class _ReplaceReLU:
    """Replaces ReLU in the hidden layers by ``other``, the name of a Keras activation."""

    other: ClassVar[str]

    def change(self, lab: Workbench) -> Change:
        found = [part for part in _hidden_activations(lab) if part.activation in ("relu", "relu6")]
        if not found:
            raise NotApplicable("no hidden layer uses ReLU")
        description = (
            f"replacing {found[0].activation} by {self.other} in {counted(len(found), 'layer')}"
        )
        return _replace_activations(found, description, keras.activations.get(self.other))


class LeakyReLU(_ReplaceReLU, Intervention):
    """Replaces ReLU by leaky ReLU, whose units cannot die (Maas, Hannun & Ng, 2013)."""

    name = "leaky-relu"
    states = "ReLU units are dead"
    answers: ClassVar[tuple[str, ...]] = ("SD301",)
    words: ClassVar[tuple[str, ...]] = ("dead", "dying", "relu", "vanish")
    other = "leaky_relu"


class GELU(_ReplaceReLU, Intervention):
    """Replaces ReLU by GELU (Hendrycks & Gimpel, 2016)."""

    name = "gelu"
    states = "ReLU is the wrong activation for the hidden layers"
    words: ClassVar[tuple[str, ...]] = ("gelu", "activation function")
    other = "gelu"


class Unsaturated(Intervention):
    """Replaces sigmoid and tanh, which saturate, by leaky ReLU (Glorot & Bengio, AISTATS 2010)."""

    name = "unsaturated"
    states = "hidden units are saturated"
    answers: ClassVar[tuple[str, ...]] = ("SD304",)
    words: ClassVar[tuple[str, ...]] = ("saturat", "vanish")

    def change(self, lab: Workbench) -> Change:
        found = [
            hidden
            for hidden in _hidden_activations(lab)
            if hidden.activation in ("sigmoid", "tanh")
            and not hasattr(hidden.layer, "recurrent_activation")
        ]
        if not found:
            raise NotApplicable("no hidden layer uses sigmoid or tanh")
        return _replace_activations(
            found,
            f"replacing {found[0].activation} by leaky_relu in {counted(len(found), 'layer')}",
            keras.activations.leaky_relu,
        )


class Nonlinearity(Intervention):
    """Adds ReLU to hidden layers that are all linear.

    Without a nonlinearity a network of any depth is one linear map (Goodfellow, Bengio &
    Courville, Deep Learning, 2016, section 6.1).
    """

    name = "nonlinearity"
    states = "the network lacks a nonlinearity between its layers"
    answers: ClassVar[tuple[str, ...]] = ("SD109",)
    words: ClassVar[tuple[str, ...]] = ("linear", "no activation", "missing activation")

    def change(self, lab: Workbench) -> Change:
        inside = _hidden_activations(lab)
        found = [p for p in inside if p.activation == "linear" and hasattr(p.layer, "kernel")]
        if any(p.activation != "linear" for p in inside):
            raise NotApplicable("a hidden layer already has a nonlinear activation")
        if not found:
            raise NotApplicable("no hidden layer with weights is linear")
        return _replace_activations(
            found, f"adding relu to {counted(len(found), 'layer')}", keras.activations.relu
        )
