"""Which weights are trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from saldiag.experiments.interventions.base import Intervention, NotApplicable
from saldiag.experiments.interventions.change import Change, Swap
from saldiag.experiments.interventions.compile_changes import rebuild_optimizer
from saldiag.experiments.interventions.output_layers import output_heads
from saldiag.experiments.interventions.workbench import Workbench
from saldiag.keras_internals.layers import own_trainable_variables
from saldiag.keras_internals.names import TRAINABLE_FLAG


class UnfreezeAll(Intervention):
    """Makes every weight of the model trainable."""

    name = "unfreeze-all"
    states = "weights that need training are frozen"
    answers: ClassVar[tuple[str, ...]] = ("SD401", "SD402", "SD403", "SD404", "SD406")
    words: ClassVar[tuple[str, ...]] = (
        "froz", "freez", "trainable", "untrained", "encoder", "expansion", "backbone", "pretrained",
    )  # fmt: skip

    def change(self, lab: Workbench) -> Change:
        return _train_selected(lab, lambda _: True, "training all weights")


class HeadOnly(Intervention):
    """Freezes all weights except those of the output layers."""

    name = "head-only"
    states = "training the layers below the head destroys their pretrained features"
    words: ClassVar[tuple[str, ...]] = ("ruin", "forget", "fine-tun", "head only", "encoder")

    def change(self, lab: Workbench) -> Change:
        heads = {id(part.layer) for head in output_heads(lab) for part in head.layers}
        kept = {id(v) for layer in lab.layers.values() if id(layer) in heads for v in layer.weights}
        return _train_selected(lab, lambda variable: id(variable) in kept, "training only the head")


def _train_selected(lab: Workbench, selects: Callable[[Any], bool], description: str) -> Change:
    """Train exactly the variables for which ``selects`` is true.

    Each flag is set on its own, because Keras' setter passes a layer's flag on to all its
    sublayers.
    """
    model = lab.model
    before = {id(v) for v in model.trainable_variables}
    own = [(path, layer, v) for path, layer in lab.layers.items()
           for v in own_trainable_variables(layer)]  # fmt: skip
    changed = [path for path, _, v in own if (id(v) in before) != selects(v)]
    if not changed:
        raise NotApplicable("the same weights are already trained")
    flags = [Swap(layer, TRAINABLE_FLAG, True, tracked=False) for layer in lab.layers.values()]
    return Change(
        description,
        tuple(dict.fromkeys(changed)),
        (*flags, *_swap_trainable_flags([v for _, _, v in own], selects)),
        optimizer=rebuild_optimizer(lab.optimizer),
    )


def _swap_trainable_flags(variables: Sequence[Any], selects: Callable[[Any], bool]) -> list[Swap]:
    return [Swap(v, "trainable", selects(v)) for v in variables if v.trainable != selects(v)]
