"""BatchNorm by its averages, or with averages that follow faster."""

from __future__ import annotations

from typing import Any, ClassVar

import keras

from saldiag.experiments.interventions.base import Intervention, NotApplicable
from saldiag.experiments.interventions.change import Change, Swap
from saldiag.experiments.interventions.workbench import Workbench


def _norms(lab: Workbench) -> dict[str, Any]:
    found = {path: layer for path, layer in lab.layers.items()
             if isinstance(layer, keras.layers.BatchNormalization)}  # fmt: skip
    if not found:
        raise NotApplicable("the model has no BatchNorm")
    return found


class BatchNormOfAverages(Intervention):
    """Lets BatchNorm normalise by its moving averages while training, not by the batch.

    With few values in a batch its own statistics say nothing (Ioffe, Batch Renormalization, 2017).
    """

    name = "batchnorm-by-averages"
    states = "BatchNorm's batch statistics hold learning up"
    answers: ClassVar[tuple[str, ...]] = ("SD405", "SD703")
    words: ClassVar[tuple[str, ...]] = ("batchnorm", "batch norm", "normalization layer")

    def change(self, lab: Workbench) -> Change:
        norms = _norms(lab)
        swaps = tuple(Swap(layer, "call", _inferring(layer), tracked=False)
                      for layer in norms.values())  # fmt: skip
        return Change("running BatchNorm by its moving averages in training", tuple(norms), swaps)


def _inferring(layer: Any) -> Any:
    call = layer.call

    def inferring(inputs: Any, training: bool | None = None, mask: Any = None) -> Any:  # noqa: ARG001
        return call(inputs, training=False, mask=mask)

    return inferring


class BatchNormMomentum(Intervention):
    """Lets BatchNorm's moving averages follow with momentum 0.9 in place of a slower one.

    With Keras' 0.99 they are 60 steps behind, and inference is, too (Ioffe & Szegedy, 2015).
    """

    name = "batchnorm-momentum"
    states = "BatchNorm's averages lag behind, so that only inference does not learn"
    answers: ClassVar[tuple[str, ...]] = ("SD802",)
    words: ClassVar[tuple[str, ...]] = ("batchnorm", "batch norm", "momentum", "val_loss", "infer")
    mode = "inference"

    def change(self, lab: Workbench) -> Change:
        slow = {path: layer for path, layer in _norms(lab).items() if layer.momentum > 0.9}
        if not slow:
            raise NotApplicable("BatchNorm's momentum is 0.9 or less already")
        swaps = tuple(Swap(layer, "momentum", 0.9) for layer in slow.values())
        return Change("setting BatchNorm's momentum to 0.9", tuple(slow), swaps)
