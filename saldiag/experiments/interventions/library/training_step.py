"""Keras' training step, or a fresh optimizer."""

from __future__ import annotations

from typing import ClassVar

from saldiag.experiments.interventions.base import Intervention, NotApplicable
from saldiag.experiments.interventions.change import Change
from saldiag.experiments.interventions.compile_changes import (
    rebuild_optimizer,
    swaps_for_keras_step,
)
from saldiag.experiments.interventions.workbench import Workbench


class KerasStep(Intervention):
    """Trains with Keras' training step and loss instead of the model's overrides."""

    name = "keras-step"
    states = "the custom training step is at fault"
    answers: ClassVar[tuple[str, ...]] = ("SD203", "SD205", "SD409", "SD707")
    words: ClassVar[tuple[str, ...]] = ("train_step", "training step", "training loop", "custom")

    def change(self, lab: Workbench) -> Change:
        swaps = swaps_for_keras_step(lab.model)
        names = " and ".join(swap.name for swap in swaps)
        return Change(f"using Keras' {names} instead of the model's own", swaps=swaps)


class FreshOptimizer(Intervention):
    """Replaces the optimizer by a new one with the same settings, as ``compile`` would."""

    name = "compiled-anew"
    states = "the optimizer was built for an earlier state of the model"
    answers: ClassVar[tuple[str, ...]] = ("SD402", "SD406", "SD407")
    words: ClassVar[tuple[str, ...]] = ("compile", "optimizer state", "stale optimizer")

    def change(self, lab: Workbench) -> Change:
        if not lab.had_optimizer_built:
            raise NotApplicable("the optimizer is already new")
        return Change(
            "a new optimizer with the same settings", optimizer=rebuild_optimizer(lab.optimizer)
        )
