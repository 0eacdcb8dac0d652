"""Another loss: the one that fits, the same times 1000, the same with the opposite sign."""

from __future__ import annotations

from typing import Any, ClassVar

import keras

from saldiag.experiments.interventions.base import Intervention, NotApplicable
from saldiag.experiments.interventions.change import Batches, Change
from saldiag.experiments.interventions.compile_changes import (
    current_learning_rate,
    swap_scaled_loss,
    swaps_for_loss,
)
from saldiag.experiments.interventions.library.learning_rate import change_rate
from saldiag.experiments.interventions.output_layers import last_activations
from saldiag.experiments.interventions.targets import TargetKind, target_kinds
from saldiag.experiments.interventions.workbench import Workbench
from saldiag_probes.loss.compiled_loss import compiled_losses


class FittingLoss(Intervention):
    """Replaces the loss by the one that the targets and the output activation imply.

    Cross-entropy for classes and shares, with ``from_logits`` set to match; the squared error for
    numbers, the hinge loss for targets of ±1 (Goodfellow, Bengio & Courville, Deep Learning, 2016,
    section 6.2.1).
    """

    name = "fitting-loss"
    states = "the loss does not fit the targets and the output"
    answers: ClassVar[tuple[str, ...]] = (
        "SD103", "SD106", "SD107", "SD108", "SD115", "SD118", "SD707", "SD708",
    )  # fmt: skip
    words: ClassVar[tuple[str, ...]] = ("loss function", "better loss", "wrong loss", "logits")

    def change(self, lab: Workbench) -> Change:
        kinds = target_kinds(lab)
        activations = last_activations(lab, len(kinds))
        fitting = [fitting_loss(k, a) for k, a in zip(kinds, activations, strict=True)]
        given = [_loss_description(loss) for loss in compiled_losses(lab.model)]
        if given == [_loss_description(loss) for loss in fitting]:
            raise NotApplicable("the loss already fits the targets and the output")
        before, after = " and ".join(given) or "none", " and ".join(map(_loss_description, fitting))
        swaps = swaps_for_loss(lab.model, _structure_losses(lab.batches, fitting))
        return Change(f"replacing the loss {before} by {after}", swaps=swaps)


def fitting_loss(kind: TargetKind, activation: str) -> Any:
    """A new Keras loss for one output with targets of that kind and that last activation."""
    if kind in ("classes", "one-hot") and activation != "sigmoid":
        classes = (keras.losses.SparseCategoricalCrossentropy if kind == "classes"
                   else keras.losses.CategoricalCrossentropy)  # fmt: skip
        return classes(from_logits=activation != "softmax")
    if kind in ("binary", "shares", "one-hot") and activation in ("sigmoid", "linear"):
        return keras.losses.BinaryCrossentropy(from_logits=activation == "linear")
    if kind == "sides" and activation == "linear":
        return keras.losses.Hinge()
    return keras.losses.MeanSquaredError()


def _loss_description(loss: Any) -> str:
    name = str(getattr(loss, "name", getattr(loss, "__name__", loss)))
    settings = loss.get_config() if isinstance(loss, keras.losses.Loss) else {}
    return f"{name} from logits" if settings.get("from_logits") else name


def _structure_losses(batches: Batches, losses: list[Any]) -> Any:
    """The losses in the structure of the targets."""
    targets = batches[0][1]
    if not keras.tree.is_nested(targets):
        return losses[0]
    return keras.tree.pack_sequence_as(targets, losses)


class ScaledLoss(Intervention):
    """Multiplies the loss by 1000, which Adam is invariant to (Kingma & Ba, 2015, sec. 2.1)."""

    name = "scaled-loss"
    states = "the gradients are too small because the loss is too small"
    answers: ClassVar[tuple[str, ...]] = ("SD202",)
    words: ClassVar[tuple[str, ...]] = (
        "vanish", "loss scale", "scale the loss", "multiply the loss", "small gradient", "x1000",
    )  # fmt: skip

    def change(self, lab: Workbench) -> Change:
        return Change("multiplying the loss by 1000", swaps=(swap_scaled_loss(lab.model, 1000.0),))


class RightSign(Intervention):
    """Reverses each step, as if the loss were negated."""

    name = "right-sign"
    states = "the loss has the wrong sign, so training increases it"
    answers: ClassVar[tuple[str, ...]] = ("SD707",)
    words: ClassVar[tuple[str, ...]] = ("sign", "negative loss", "maximi", "climb")

    def change(self, lab: Workbench) -> Change:
        return change_rate(
            lab,
            -current_learning_rate(lab.model),
            "reversing each step, as if the loss were negated",
        )
