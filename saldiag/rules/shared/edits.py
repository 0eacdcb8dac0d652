"""Edits that rules propose, if the line to change is known; none otherwise."""

from __future__ import annotations

from collections.abc import Sequence

from saldiag.core.findings.edit import COMPILE, Edit, Plain
from saldiag.core.findings.rule import source_of
from saldiag.core.measurement import LayerCall, Measurements, ProgramPlaces, TrainingPlan, Wiring
from saldiag.core.wording import label, number
from saldiag.rules.shared.training_plan import SILENT

Edits = tuple[Edit, ...]
ARE_ACTIVATIONS = frozenset({"ELU", "LeakyReLU", "PReLU", "ReLU", "Softmax"})
"""Activation layers, which have no ``activation`` argument."""
CLASSES = {
    "binary_crossentropy": "BinaryCrossentropy",
    "categorical_crossentropy": "CategoricalCrossentropy",
    "sparse_categorical_crossentropy": "SparseCategoricalCrossentropy",
}
"""Class names of the losses with a ``from_logits`` argument."""


def all_or_none(*parts: Edits) -> Edits:
    """All edits together; none if any part is missing, because the rest would fix only half."""
    return tuple(edit for part in parts for edit in part) if all(parts) else ()


def of_layer(measured: Measurements, call: LayerCall, argument: str, old: Plain, new: str) -> Edits:
    """The edit of one argument in the line that creates a layer."""
    source = source_of(measured, call.layer)
    if source is None:
        return ()
    return (Edit(source, call.kind, argument, old, new, layer=call.layer),)


def activation(measured: Measurements, call: LayerCall, new: str | None) -> Edits:
    """The edit of a layer's activation; ``new`` None removes it."""
    if call.kind in ARE_ACTIVATIONS:
        return ()
    none = '"linear"' if call.kind == "Activation" else "None"
    text = none if new is None else f'"{new}"'
    return of_layer(measured, call, "activation", call.activation, text)


def loss(measured: Measurements, new: str) -> Edits:
    """The edit of the loss name, if the model is compiled with a single loss."""
    wiring, place = measured.need(Wiring), measured.get(ProgramPlaces)
    custom = wiring.loss.startswith("custom:")
    if place is None or place.compiled is None or custom or wiring.losses:
        return ()
    return (Edit(place.compiled, COMPILE, "loss", wiring.loss, f'"{new}"'),)


def from_logits(measured: Measurements, new: bool) -> Edits:
    """The edit of the loss's ``from_logits``."""
    wiring = measured.need(Wiring)
    kind = CLASSES.get(wiring.loss)
    if kind is None or wiring.losses:
        return ()
    return _edit_within_compile(measured, "loss", kind, "from_logits", not new, str(new))


def of_optimizer(measured: Measurements, argument: str, old: float, new: float) -> Edits:
    """The edit of a number in the optimizer's arguments."""
    kind = measured.need(Wiring).optimizer
    return _edit_within_compile(measured, "optimizer", kind, argument, old, number(new))


def learning_rate(measured: Measurements, new: float) -> Edits:
    """The edit of the learning rate, if it is a constant that nothing else sets."""
    wiring, plan = measured.get(Wiring), measured.get(TrainingPlan)
    if wiring is None or plan is None or not new > 0 or plan.schedule != "constant":
        return ()
    if any(callback.kind not in SILENT for callback in plan.callbacks):
        return ()  # a custom callback can set the rate
    return of_optimizer(measured, "learning_rate", wiring.learning_rate, new)


def _edit_within_compile(
    measured: Measurements, within: str, kind: str, argument: str, old: Plain, new: str
) -> Edits:
    """The edit of one argument of the loss or optimizer that ``compile`` gets."""
    place = measured.get(ProgramPlaces)
    if place is None or place.compiled is None:
        return ()
    return (Edit(place.compiled, kind, argument, old, new, within=within),)


def told(certain: Edits) -> str:
    """Edits of layers as one line of advice; empty without edits."""
    changes = [(f"{edit.argument}={edit.new}", f"in {label(edit.layer)}") for edit in certain]
    first = [f"{what}  # {where}" for what, where in changes[:1]]
    return "; ".join([*first, *(f"{what} {where}" for what, where in changes[1:])])


def layers_of(calls: Sequence[LayerCall]) -> list[LayerCall]:
    """One call per layer."""
    return list({call.layer: call for call in calls}.values())
