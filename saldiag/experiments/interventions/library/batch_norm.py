"""BatchNorm that normalises with moving statistics, or updates them faster."""

from __future__ import annotations

from typing import Any, ClassVar

import keras

from saldiag.experiments.interventions.base import Intervention, NotApplicable
from saldiag.experiments.interventions.change import Change, Swap
from saldiag.experiments.interventions.workbench import Workbench


def _batch_norm_layers(lab: Workbench) -> dict[str, Any]:
    """BatchNorm layers by path."""
    found = {
        path: layer
        for path, layer in lab.layers.items()
        if isinstance(layer, keras.layers.BatchNormalization)
    }
    if not found:
        raise NotApplicable("the model has no BatchNormalization layer")
    return found


class BatchNormByAverages(Intervention):
    """Normalises with BatchNorm's moving statistics during training instead of batch statistics.

    Statistics of a batch with few values are unreliable (Ioffe, Batch Renormalization, 2017).
    """

    name = "batchnorm-by-averages"
    states = "BatchNorm's batch statistics prevent learning"
    answers: ClassVar[tuple[str, ...]] = ("SD405", "SD703")
    words: ClassVar[tuple[str, ...]] = ("batchnorm", "batch norm", "normalization layer")

    def change(self, lab: Workbench) -> Change:
        norms = _batch_norm_layers(lab)
        swaps = tuple(
            Swap(layer, "call", _call_in_inference_mode(layer), tracked=False)
            for layer in norms.values()
        )
        return Change(
            "normalising with BatchNorm's moving statistics during training", tuple(norms), swaps
        )


def _call_in_inference_mode(layer: Any) -> Any:
    call = layer.call

    def call_with_averages(inputs: Any, training: bool | None = None, mask: Any = None) -> Any:  # noqa: ARG001
        return call(inputs, training=False, mask=mask)

    return call_with_averages


class BatchNormMomentum(Intervention):
    """Lowers BatchNorm's momentum to 0.9.

    At Keras' default of 0.99 the moving statistics, and with them inference, lag some 60 steps
    behind (Ioffe & Szegedy, 2015).
    """

    name = "batchnorm-momentum"
    states = "BatchNorm's moving statistics lag behind, which breaks inference only"
    answers: ClassVar[tuple[str, ...]] = ("SD802",)
    words: ClassVar[tuple[str, ...]] = ("batchnorm", "batch norm", "momentum", "val_loss", "infer")
    mode = "inference"

    def change(self, lab: Workbench) -> Change:
        slow = {
            path: layer for path, layer in _batch_norm_layers(lab).items() if layer.momentum > 0.9
        }
        if not slow:
            raise NotApplicable("BatchNorm's momentum is already 0.9 or less")
        swaps = tuple(Swap(layer, "momentum", 0.9) for layer in slow.values())
        return Change("setting BatchNorm's momentum to 0.9", tuple(slow), swaps)
