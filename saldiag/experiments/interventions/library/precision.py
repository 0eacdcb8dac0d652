"""Another compute precision, or a scaled loss."""

from __future__ import annotations

from typing import Any, ClassVar

import keras

from saldiag.core.keras_types import KerasLayer
from saldiag.experiments.interventions.base import Intervention, NotApplicable
from saldiag.experiments.interventions.change import Change, Swap
from saldiag.experiments.interventions.compile_changes import rebuild_optimizer
from saldiag.experiments.interventions.output_layers import output_heads
from saldiag.experiments.interventions.workbench import Workbench
from saldiag.keras_internals.layers import set_variable_dtype
from saldiag.keras_internals.names import LAYER_POLICY
from saldiag_probes.state.optimizers import inner_optimizer


def swaps_to_float32(layers: dict[str, Any]) -> tuple[dict[str, Any], tuple[Swap, ...]]:
    """The layers that compute in another precision, and the swaps that make them use float32.

    Their weights keep their dtype: Keras casts weights to the compute dtype, as in mixed precision.

    Args:
        layers: layers by path.

    Raises:
        NotApplicable: all layers compute in float32.
    """
    other = {p: layer for p, layer in layers.items() if layer.compute_dtype != "float32"}
    if not other:
        raise NotApplicable("all layers already compute in float32")
    return other, tuple(
        Swap(layer, LAYER_POLICY, _float32_policy(layer), tracked=False) for layer in other.values()
    )


def _float32_policy(layer: KerasLayer) -> Any:
    policy = keras.dtype_policies.DTypePolicy("float32")
    set_variable_dtype(policy, layer.variable_dtype)
    return policy


class Float32(Intervention):
    """Computes all layers in float32."""

    name = "float32"
    states = "the compute precision is too low"
    answers: ClassVar[tuple[str, ...]] = (
        "SD206", "SD501", "SD502", "SD503", "SD504", "SD505", "SD507",
    )  # fmt: skip
    words: ClassVar[tuple[str, ...]] = ("precision", "float16", "float32", "fp16", "mixed", "half")

    def change(self, lab: Workbench) -> Change:
        layers, swaps = swaps_to_float32(lab.layers)
        return Change("computing all layers in float32", tuple(p for p in layers if p), swaps)


class Float32Head(Intervention):
    """Computes the output layers, and with them the loss, in float32.

    Micikevicius et al., Mixed Precision Training, ICLR 2018, section 3.3.
    """

    name = "float32-head"
    states = "the output and the loss are computed at too low a precision"
    answers: ClassVar[tuple[str, ...]] = ("SD501",)
    words: ClassVar[tuple[str, ...]] = ("precision", "float16", "fp16", "mixed", "half")

    def change(self, lab: Workbench) -> Change:
        paths = {part.path: part.layer for head in output_heads(lab) for part in head.layers}
        layers, swaps = swaps_to_float32(paths)
        return Change("computing the output and the loss in float32", tuple(layers), swaps)


class LossScaling(Intervention):
    """Scales the loss against underflow in float16 (Micikevicius et al., ICLR 2018, sec. 3.2)."""

    name = "loss-scaling"
    states = "gradients underflow in float16"
    answers: ClassVar[tuple[str, ...]] = ("SD206", "SD502")
    words: ClassVar[tuple[str, ...]] = ("loss scal", "underflow", "float16", "fp16", "mixed")

    def change(self, lab: Workbench) -> Change:
        if all(layer.compute_dtype != "float16" for layer in lab.layers.values()):
            raise NotApplicable("no layer computes in float16")
        scaled = keras.optimizers.LossScaleOptimizer(
            rebuild_optimizer(inner_optimizer(lab.model.optimizer), loss_scale_factor=None)
        )
        return Change("dynamic loss scaling", optimizer=scaled)
