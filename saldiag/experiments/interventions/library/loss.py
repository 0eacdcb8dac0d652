"""Another loss: the one that fits, the same times a thousand, the same the other way up."""

from __future__ import annotations

from typing import Any, ClassVar

import keras

from saldiag.experiments.interventions.base import Intervention, NotApplicable
from saldiag.experiments.interventions.change import Change
from saldiag.experiments.interventions.compile_changes import rate_of, times_loss, with_loss
from saldiag.experiments.interventions.library.learning_rate import at_rate
from saldiag.experiments.interventions.output_layers import last_activations
from saldiag.experiments.interventions.targets import Kind, kinds_of
from saldiag.experiments.interventions.workbench import Workbench
from saldiag_probes.loss.compiled_loss import compiled_losses


class FittingLoss(Intervention):
    """Takes the loss that the targets and the output's activation imply.

    Cross-entropy for classes and shares, told whether it gets logits; the squared error for
    numbers, the hinge for sides ±1 (Goodfellow, Bengio & Courville, Deep Learning, 2016, 6.2.1).
    """

    name = "fitting-loss"
    states = "the loss does not fit the targets and the output"
    answers: ClassVar[tuple[str, ...]] = (
        "SD103", "SD106", "SD107", "SD108", "SD115", "SD118", "SD707", "SD708",
    )  # fmt: skip
    words: ClassVar[tuple[str, ...]] = ("loss function", "better loss", "wrong loss", "logits")

    def change(self, lab: Workbench) -> Change:
        kinds = kinds_of(lab)
        activations = last_activations(lab, len(kinds))
        wanted = [fitting_loss(k, a) for k, a in zip(kinds, activations, strict=True)]
        given = [_told(loss) for loss in compiled_losses(lab.model)]
        if given == [_told(loss) for loss in wanted]:
            raise NotApplicable("the loss is the one that targets and output imply")
        before, after = " and ".join(given) or "none", " and ".join(map(_told, wanted))
        told = f"replacing the loss {before} by {after}"
        return Change(told, swaps=with_loss(lab.model, _shaped(lab.batches, wanted)))


def fitting_loss(kind: Kind, activation: str) -> Any:
    """The loss for one output."""
    if kind in ("classes", "one-hot") and activation != "sigmoid":
        classes = (keras.losses.SparseCategoricalCrossentropy if kind == "classes"
                   else keras.losses.CategoricalCrossentropy)  # fmt: skip
        return classes(from_logits=activation != "softmax")
    if kind in ("binary", "shares", "one-hot") and activation in ("sigmoid", "linear"):
        return keras.losses.BinaryCrossentropy(from_logits=activation == "linear")
    if kind == "sides" and activation == "linear":
        return keras.losses.Hinge()
    return keras.losses.MeanSquaredError()


def _told(loss: Any) -> str:
    name = str(getattr(loss, "name", getattr(loss, "__name__", loss)))
    settings = loss.get_config() if isinstance(loss, keras.losses.Loss) else {}
    return f"{name} from logits" if settings.get("from_logits") else name


def _shaped(batches: Any, losses: list[Any]) -> Any:
    """The losses in the structure that the targets have."""
    targets = batches[0][1]
    return keras.tree.pack_sequence_as(targets, losses) if keras.tree.is_nested(targets) else (
        losses[0]
    )  # fmt: skip


class ScaledLoss(Intervention):
    """Multiplies the loss by a thousand, which is nothing to Adam (Kingma & Ba, 2015, sec. 2.1)."""

    name = "scaled-loss"
    states = "the gradients are too small because the loss is"
    answers: ClassVar[tuple[str, ...]] = ("SD202",)
    words: ClassVar[tuple[str, ...]] = (
        "vanish", "loss scale", "scale the loss", "multiply the loss", "small gradient", "x1000",
    )  # fmt: skip

    def change(self, lab: Workbench) -> Change:
        return Change("multiplying the loss by 1000", swaps=(times_loss(lab.model, 1000.0),))


class RightSign(Intervention):
    """Takes each step the other way, as under minus the loss."""

    name = "right-sign"
    states = "the loss has the wrong sign: training climbs"
    answers: ClassVar[tuple[str, ...]] = ("SD707",)
    words: ClassVar[tuple[str, ...]] = ("sign", "negative loss", "maximi", "climb")

    def change(self, lab: Workbench) -> Change:
        return at_rate(
            lab, -rate_of(lab.model), "taking each step the other way, as under minus the loss"
        )
