"""Training without regularisation: dropout, noise, penalties, weight decay."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import keras

from saldiag.core.keras_types import KerasLayer, KerasOptimizer
from saldiag.experiments.interventions.base import Intervention, NotApplicable
from saldiag.experiments.interventions.change import Change, Swap
from saldiag.experiments.interventions.compile_changes import rebuild_optimizer
from saldiag.experiments.interventions.workbench import Workbench
from saldiag.keras_internals.layers import own_trainable_variables
from saldiag_probes.state.optimizers import inner_optimizer

_DROPOUT_ATTRIBUTES = ("rate", "stddev", "dropout", "recurrent_dropout")
"""Attributes of dropout, noise and recurrent layers that hold a rate or noise level."""


class NoDropout(Intervention):
    """Sets the rates of dropout and noise layers to 0 (Srivastava et al., JMLR 2014)."""

    name = "no-dropout"
    states = "dropout prevents learning"
    answers: ClassVar[tuple[str, ...]] = ("SD112",)
    words: ClassVar[tuple[str, ...]] = ("dropout", "regulari", "noise")

    def change(self, lab: Workbench) -> Change:
        found = [
            (path, Swap(layer, name, 0.0))
            for path, layer in lab.layers.items()
            for name in _dropout_attributes(layer)
        ]
        if not found:
            raise NotApplicable("the model has no active dropout or noise layer")
        return Change(
            "removing dropout", tuple(path for path, _ in found), tuple(s for _, s in found)
        )


def _dropout_attributes(layer: KerasLayer) -> Iterator[str]:
    """Names of the layer's attributes that hold a dropout rate or noise level above 0."""
    kind = type(layer).__name__
    for name in _DROPOUT_ATTRIBUTES:
        value = getattr(layer, name, 0)
        drops = "Drop" in kind or "Noise" in kind or "dropout" in name
        if drops and isinstance(value, float) and value > 0:
            yield name


class NoPenalty(Intervention):
    """Removes penalties on weights and activations, and weight decay."""

    name = "no-penalty"
    states = "regularisation penalties outweigh the loss"
    answers: ClassVar[tuple[str, ...]] = ("SD711",)
    words: ClassVar[tuple[str, ...]] = ("regulari", "weight decay", "penalty", "l2")

    def change(self, lab: Workbench) -> Change:
        layers: list[str] = []
        swaps: list[Swap] = []
        for path, layer in lab.layers.items():
            own = [
                Swap(v, "regularizer", None)
                for v in own_trainable_variables(layer)
                if v.regularizer
            ]
            if getattr(layer, "activity_regularizer", None) is not None:
                own.append(Swap(layer, "activity_regularizer", None))
            layers += [path] * bool(own)
            swaps += own
        optimizer = _optimizer_without_decay(lab.model.optimizer)
        if not swaps and optimizer is None:
            raise NotApplicable("the model has no regularisation penalty and no weight decay")
        return Change(
            "removing penalties and weight decay", tuple(layers), tuple(swaps), optimizer=optimizer
        )


def _optimizer_without_decay(optimizer: KerasOptimizer) -> Any:
    """A rebuilt optimizer without weight decay; None if it has none."""
    if not inner_optimizer(optimizer).weight_decay:
        return None
    zero = 0.0 if isinstance(inner_optimizer(optimizer), keras.optimizers.AdamW) else None
    return rebuild_optimizer(optimizer, weight_decay=zero)
