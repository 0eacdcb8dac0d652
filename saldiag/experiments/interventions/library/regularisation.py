"""Training without what keeps a model from memorising."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import keras

from saldiag.experiments.interventions.base import Intervention, NotApplicable
from saldiag.experiments.interventions.change import Change, Swap
from saldiag.experiments.interventions.compile_changes import rebuilt
from saldiag.experiments.interventions.workbench import Workbench
from saldiag.keras_internals.layers import own_trainable_variables
from saldiag_probes.state.optimizers import inner

_RATES = ("rate", "stddev", "dropout", "recurrent_dropout")


class NoDropout(Intervention):
    """Drops nothing, and adds no noise (Srivastava et al., JMLR 2014: dropout holds back)."""

    name = "no-dropout"
    states = "dropout holds learning up"
    answers: ClassVar[tuple[str, ...]] = ("SD112",)
    words: ClassVar[tuple[str, ...]] = ("dropout", "regulari", "noise")

    def change(self, lab: Workbench) -> Change:
        found = [(path, Swap(layer, name, 0.0)) for path, layer in lab.layers.items()
                 for name in _dropping(layer)]  # fmt: skip
        if not found:
            raise NotApplicable("the model drops nothing and adds no noise")
        return Change(
            "removing dropout", tuple(path for path, _ in found), tuple(s for _, s in found)
        )


def _dropping(layer: Any) -> Iterator[str]:
    kind = type(layer).__name__
    for name in _RATES:
        value = getattr(layer, name, 0)
        if isinstance(value, float) and value > 0 and (
            "Drop" in kind or "Noise" in kind or "dropout" in name
        ):  # fmt: skip
            yield name


class NoPenalty(Intervention):
    """Takes penalties on weights and outputs away, and weight decay."""

    name = "no-penalty"
    states = "a penalty on the weights outweighs the loss"
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
        optimizer = _without_decay(lab.model.optimizer)
        if not swaps and optimizer is None:
            raise NotApplicable("there is no penalty on the weights and no weight decay")
        return Change("removing penalties and weight decay", tuple(layers), tuple(swaps),
                      optimizer=optimizer)  # fmt: skip


def _without_decay(optimizer: Any) -> Any:
    if not inner(optimizer).weight_decay:
        return None
    zero = 0.0 if isinstance(inner(optimizer), keras.optimizers.AdamW) else None
    return rebuilt(optimizer, weight_decay=zero)
