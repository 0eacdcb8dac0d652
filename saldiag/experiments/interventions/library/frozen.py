"""Which weights are trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from saldiag.experiments.interventions.base import Intervention, NotApplicable
from saldiag.experiments.interventions.change import Change, Swap
from saldiag.experiments.interventions.compile_changes import rebuilt
from saldiag.experiments.interventions.output_layers import heads_of
from saldiag.experiments.interventions.workbench import Workbench
from saldiag.keras_internals.layers import own_trainable_variables
from saldiag.keras_internals.names import TRAINABLE_FLAG


class UnfreezeAll(Intervention):
    """Trains every weight of the model."""

    name = "unfreeze-all"
    states = "weights are frozen that have to be trained"
    answers: ClassVar[tuple[str, ...]] = ("SD401", "SD402", "SD403", "SD404", "SD406")
    words: ClassVar[tuple[str, ...]] = (
        "froz", "freez", "trainable", "untrained", "encoder", "expansion", "backbone", "pretrained",
    )  # fmt: skip

    def change(self, lab: Workbench) -> Change:
        return _trained(lab, lambda _: True, "training all weights")


class HeadOnly(Intervention):
    """Freezes all weights but those of the output's layers."""

    name = "head-only"
    states = "training the layers below the head ruins what they know"
    words: ClassVar[tuple[str, ...]] = ("ruin", "forget", "fine-tun", "head only", "encoder")

    def change(self, lab: Workbench) -> Change:
        heads = {id(part.layer) for head in heads_of(lab) for part in head.parts}
        kept = {id(v) for layer in lab.layers.values() if id(layer) in heads for v in layer.weights}
        return _trained(lab, lambda variable: id(variable) in kept, "training only the head")


def _trained(lab: Workbench, wanted: Callable[[Any], bool], told: str) -> Change:
    """Set each flag by itself: Keras' own setter hands a layer's down to all that is in it."""
    model = lab.model
    before = {id(v) for v in model.trainable_variables}
    own = [(path, layer, v) for path, layer in lab.layers.items()
           for v in own_trainable_variables(layer)]  # fmt: skip
    other = [(path, v) for path, _, v in own if (id(v) in before) != wanted(v)]
    if not other:
        raise NotApplicable("no weight's training would change")
    flags = [Swap(layer, TRAINABLE_FLAG, True, tracked=False) for layer in lab.layers.values()]
    return Change(
        told,
        tuple(dict.fromkeys(path for path, _ in other)),
        (*flags, *_variables([v for _, _, v in own], wanted)),
        optimizer=rebuilt(lab.optimizer),
    )


def _variables(variables: Sequence[Any], wanted: Callable[[Any], bool]) -> list[Swap]:
    return [Swap(v, "trainable", wanted(v)) for v in variables if v.trainable != wanted(v)]
