"""Other activations inside the model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

import keras

from saldiag.experiments.interventions.base import Intervention, NotApplicable
from saldiag.experiments.interventions.change import Change
from saldiag.experiments.interventions.output_layers import Part, head_layers, part_of
from saldiag.experiments.interventions.workbench import Workbench


def _inside(lab: Workbench) -> list[Part]:
    """Layers with an activation that the output's own is not."""
    heads = head_layers(lab)
    parts = (part_of(path, layer) for path, layer in lab.layers.items() if id(layer) not in heads)
    return [part for part in parts if part is not None]


def _swapped(parts: Iterable[Part], told: str, function: Callable[..., Any]) -> Change:
    chosen = list(parts)
    return Change(told, tuple(p.path for p in chosen), tuple(p.swap(function) for p in chosen))


class _InPlaceOfReLU:
    """ReLU inside the model becomes another activation."""

    other: ClassVar[str]

    def change(self, lab: Workbench) -> Change:
        found = [part for part in _inside(lab) if part.activation in ("relu", "relu6")]
        if not found:
            raise NotApplicable("no layer inside the model has ReLU for its activation")
        told = f"replacing {found[0].activation} by {self.other} in {_layers(found)}"
        return _swapped(found, told, keras.activations.get(self.other))


class LeakyReLU(_InPlaceOfReLU, Intervention):
    """Takes leaky ReLU for ReLU, which cannot die (Maas, Hannun & Ng, 2013)."""

    name = "leaky-relu"
    states = "ReLU units are dead"
    answers: ClassVar[tuple[str, ...]] = ("SD301",)
    words: ClassVar[tuple[str, ...]] = ("dead", "dying", "relu", "vanish")
    other = "leaky_relu"


class GELU(_InPlaceOfReLU, Intervention):
    """Takes GELU for ReLU (Hendrycks & Gimpel, 2016)."""

    name = "gelu"
    states = "ReLU is the wrong nonlinearity inside the model"
    words: ClassVar[tuple[str, ...]] = ("gelu", "activation function")
    other = "gelu"


class Unsaturated(Intervention):
    """Takes leaky ReLU for sigmoid and tanh, which saturate (Glorot & Bengio, AISTATS 2010)."""

    name = "unsaturated"
    states = "hidden units are saturated"
    answers: ClassVar[tuple[str, ...]] = ("SD304",)
    words: ClassVar[tuple[str, ...]] = ("saturat", "vanish")

    def change(self, lab: Workbench) -> Change:
        found = [part for part in _inside(lab) if part.activation in ("sigmoid", "tanh")
                 and not hasattr(part.layer, "recurrent_activation")]  # fmt: skip
        if not found:
            raise NotApplicable("no layer inside the model has sigmoid or tanh for its activation")
        return _swapped(found, f"{found[0].activation} → leaky_relu in {len(found)} layers",
                        keras.activations.leaky_relu)  # fmt: skip


class Nonlinearity(Intervention):
    """Gives linear layers inside the model a ReLU.

    Without a nonlinearity a network of any depth is one linear map (Goodfellow, Bengio &
    Courville, Deep Learning, 2016, section 6.1).
    """

    name = "nonlinearity"
    states = "the network lacks a nonlinearity between its layers"
    answers: ClassVar[tuple[str, ...]] = ("SD109",)
    words: ClassVar[tuple[str, ...]] = ("linear", "no activation", "missing activation")

    def change(self, lab: Workbench) -> Change:
        inside = _inside(lab)
        found = [p for p in inside if p.activation == "linear" and hasattr(p.layer, "kernel")]
        if not found or any(p.activation != "linear" for p in inside):
            raise NotApplicable("there are nonlinearities between the layers, or no linear ones")
        return _swapped(found, f"putting relu on {_layers(found)}", keras.activations.relu)


def _layers(found: Sequence[Any]) -> str:
    return "1 layer" if len(found) == 1 else f"{len(found)} layers"
