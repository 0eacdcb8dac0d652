"""Another activation on the output, or one activation fewer."""

from __future__ import annotations

from typing import ClassVar

import keras

from saldiag.experiments.interventions.base import Intervention, NotApplicable
from saldiag.experiments.interventions.change import Change, Swap
from saldiag.experiments.interventions.output_layers import OutputHead, output_heads
from saldiag.experiments.interventions.targets import implied_activations
from saldiag.experiments.interventions.workbench import Workbench


class FittingOutput(Intervention):
    """Replaces the output activation by the one that the targets and the loss imply.

    Sigmoid for values in [0, 1], softmax for one class of several, linear where the loss takes
    logits or the targets are unbounded (Goodfellow, Bengio & Courville, Deep Learning, 2016,
    section 6.2.2).
    """

    name = "fitting-output"
    states = "the output's activation does not fit the targets"
    answers: ClassVar[tuple[str, ...]] = (
        "SD101", "SD102", "SD103", "SD106", "SD107", "SD113", "SD602",
    )  # fmt: skip
    words: ClassVar[tuple[str, ...]] = (
        "output", "head", "activation", "softmax", "sigmoid", "connection", "wiring", "wired",
    )  # fmt: skip

    def change(self, lab: Workbench) -> Change:
        heads = output_heads(lab)
        swaps: list[Swap] = []
        descriptions: list[str] = []
        layers: list[str] = []
        for head, implied in zip(heads, implied_activations(lab, len(heads)), strict=True):
            if head.activations == (() if implied == "linear" else (implied,)):
                continue
            swaps += _swap_head_activations(head, implied)
            descriptions.append(
                f"replacing {head.activation_names} by {implied} on {head.layer_names}"
            )
            layers += [layer.path for layer in head.layers]
        if not descriptions:
            raise NotApplicable("the output activation already fits the targets and the loss")
        return Change("; ".join(descriptions), tuple(layers), tuple(swaps))


def _swap_head_activations(head: OutputHead, activation: str) -> list[Swap]:
    """Give the last layer the activation, and the layers before it none."""
    function = keras.activations.get(activation)
    linear = keras.activations.get("linear")
    return [
        layer.swap_activation(function if layer is head.layers[-1] else linear)
        for layer in head.layers
    ]


class SingleActivation(Intervention):
    """Keeps the first of several activations on the output and removes the others."""

    name = "single-activation"
    states = "the output passes through one activation too many"
    answers: ClassVar[tuple[str, ...]] = ("SD102", "SD113")
    words: ClassVar[tuple[str, ...]] = ("twice", "double", "activation", "connection")

    def change(self, lab: Workbench) -> Change:
        extra = [
            layer
            for head in output_heads(lab)
            for layer in [p for p in head.layers if p.activation not in ("linear", "")][1:]
        ]
        if not extra:
            raise NotApplicable("no output passes through more than one activation")
        linear = keras.activations.get("linear")
        return Change(
            "; ".join(f"removing {layer.activation} from {layer.path}" for layer in extra),
            tuple(layer.path for layer in extra),
            tuple(layer.swap_activation(linear) for layer in extra),
        )
