"""Keras' own training step."""

from __future__ import annotations

from typing import ClassVar

from saldiag.experiments.interventions.base import Intervention, NotApplicable
from saldiag.experiments.interventions.change import Change
from saldiag.experiments.interventions.compile_changes import rebuilt, with_keras_step
from saldiag.experiments.interventions.workbench import Workbench


class KerasStep(Intervention):
    """Trains with Keras' training step and loss in place of the model's own."""

    name = "keras-step"
    states = "the model's own training step is at fault"
    answers: ClassVar[tuple[str, ...]] = ("SD203", "SD205", "SD409", "SD707")
    words: ClassVar[tuple[str, ...]] = ("train_step", "training step", "training loop", "custom")

    def change(self, lab: Workbench) -> Change:
        swaps = with_keras_step(lab.model)
        names = " and ".join(swap.name for swap in swaps)
        return Change(f"taking Keras' {names} in place of the model's own", swaps=swaps)


class CompiledAnew(Intervention):
    """Gives the model a new optimizer of the same settings, as ``compile`` would."""

    name = "compiled-anew"
    states = "the optimizer does not belong to the model as it is now"
    answers: ClassVar[tuple[str, ...]] = ("SD402", "SD406", "SD407")
    words: ClassVar[tuple[str, ...]] = ("compile", "optimizer state", "stale optimizer")

    def change(self, lab: Workbench) -> Change:
        if not lab.had_optimizer_built:
            raise NotApplicable("the optimizer is new already")
        return Change("a new optimizer of the same settings", optimizer=rebuilt(lab.optimizer))
