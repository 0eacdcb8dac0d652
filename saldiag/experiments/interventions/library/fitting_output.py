"""Another activation on the output."""

from __future__ import annotations

from typing import ClassVar

import keras

from saldiag.experiments.interventions.base import Intervention, NotApplicable
from saldiag.experiments.interventions.change import Change, Swap
from saldiag.experiments.interventions.output_layers import Head, heads_of
from saldiag.experiments.interventions.targets import fitting_activation
from saldiag.experiments.interventions.workbench import Workbench


class FittingOutput(Intervention):
    """Ends the model in one activation, the one that its targets and its loss imply.

    sigmoid for values from 0 to 1, softmax for one class of several, nothing where the loss takes
    logits or the targets are any numbers (Goodfellow, Bengio & Courville, Deep Learning, 2016,
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
        heads = heads_of(lab)
        swaps: list[Swap] = []
        told: list[str] = []
        layers: list[str] = []
        for head, wanted in zip(heads, fitting_activation(lab, len(heads)), strict=True):
            if head.activations == _alone(wanted):
                continue
            swaps += _replaced(head, wanted)
            told.append(f"replacing {head.told} by {wanted} on {head.place}")
            layers += [part.path for part in head.parts]
        if not told:
            raise NotApplicable("the output's activation is the one that targets and loss imply")
        return Change("; ".join(told), tuple(layers), tuple(swaps))


def _alone(wanted: str) -> tuple[str, ...]:
    return () if wanted == "linear" else (wanted,)


def _replaced(head: Head, wanted: str) -> list[Swap]:
    """The last part gets the activation, the others none."""
    function = keras.activations.get(wanted)
    linear = keras.activations.get("linear")
    return [part.swap(function if part is head.parts[-1] else linear) for part in head.parts]


class SingleActivation(Intervention):
    """Leaves the first of several activations on the output, and takes those after it away."""

    name = "single-activation"
    states = "the output goes through an activation too many"
    answers: ClassVar[tuple[str, ...]] = ("SD102", "SD113")
    words: ClassVar[tuple[str, ...]] = ("twice", "double", "activation", "connection")

    def change(self, lab: Workbench) -> Change:
        busy = [[p for p in head.parts if p.activation not in ("linear", "")]
                for head in heads_of(lab)]  # fmt: skip
        extra = [part for parts in busy for part in parts[1:]]
        if not extra:
            raise NotApplicable("no output goes through several activations")
        linear = keras.activations.get("linear")
        told = "; ".join(f"dropping {part.activation} on {part.path}" for part in extra)
        return Change(told, tuple(p.path for p in extra), tuple(p.swap(linear) for p in extra))
