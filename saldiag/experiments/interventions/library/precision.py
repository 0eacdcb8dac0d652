"""Precision of the arithmetic."""

from __future__ import annotations

from typing import Any, ClassVar

import keras

from saldiag.experiments.interventions.base import Intervention, NotApplicable
from saldiag.experiments.interventions.change import Change, Swap
from saldiag.experiments.interventions.compile_changes import rebuilt
from saldiag.experiments.interventions.output_layers import heads_of
from saldiag.experiments.interventions.workbench import Workbench
from saldiag.keras_internals.layers import set_variable_dtype
from saldiag.keras_internals.names import LAYER_POLICY
from saldiag_probes.state.optimizers import inner


def in_float32(layers: dict[str, Any]) -> tuple[dict[str, Any], tuple[Swap, ...]]:
    """Those of the layers that compute in another precision, and them in float32.

    Their weights stay what they are: Keras casts those that are of another type than the policy's
    arithmetic, as in mixed precision.

    Raises:
        NotApplicable: all compute in float32.
    """
    other = {p: layer for p, layer in layers.items() if layer.compute_dtype != "float32"}
    if not other:
        raise NotApplicable("all is computed in float32")
    return other, tuple(
        Swap(layer, LAYER_POLICY, _computing(layer), tracked=False) for layer in other.values()
    )


def _computing(layer: Any) -> Any:
    policy = keras.dtype_policies.DTypePolicy("float32")
    set_variable_dtype(policy, layer.variable_dtype)
    return policy


class Float32(Intervention):
    """Computes all layers in float32."""

    name = "float32"
    states = "the precision of the arithmetic is too low"
    answers: ClassVar[tuple[str, ...]] = (
        "SD206", "SD501", "SD502", "SD503", "SD504", "SD505", "SD507",
    )  # fmt: skip
    words: ClassVar[tuple[str, ...]] = ("precision", "float16", "float32", "fp16", "mixed", "half")

    def change(self, lab: Workbench) -> Change:
        layers, swaps = in_float32(lab.layers)
        return Change("computing all layers in float32", tuple(p for p in layers if p), swaps)


class Float32Head(Intervention):
    """Computes the output's layers, and with them the loss, in float32.

    Micikevicius et al., Mixed Precision Training, ICLR 2018, section 3.3.
    """

    name = "float32-head"
    states = "output and loss are computed in too low a precision"
    answers: ClassVar[tuple[str, ...]] = ("SD501",)
    words: ClassVar[tuple[str, ...]] = ("precision", "float16", "fp16", "mixed", "half")

    def change(self, lab: Workbench) -> Change:
        paths = {part.path: part.layer for head in heads_of(lab) for part in head.parts}
        layers, swaps = in_float32(paths)
        return Change("computing output and loss in float32", tuple(layers), swaps)


class LossScaling(Intervention):
    """Scales the loss against underflow in float16 (Micikevicius et al., ICLR 2018, sec. 3.2)."""

    name = "loss-scaling"
    states = "gradients underflow in float16"
    answers: ClassVar[tuple[str, ...]] = ("SD206", "SD502")
    words: ClassVar[tuple[str, ...]] = ("loss scal", "underflow", "float16", "fp16", "mixed")

    def change(self, lab: Workbench) -> Change:
        if all(layer.compute_dtype != "float16" for layer in lab.layers.values()):
            raise NotApplicable("nothing is computed in float16")
        scaled = keras.optimizers.LossScaleOptimizer(
            rebuilt(inner(lab.model.optimizer), loss_scale_factor=None)
        )
        return Change("dynamic loss scaling", optimizer=scaled)
