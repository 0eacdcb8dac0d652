"""Edits as rules make them: where the line is known, and nothing where it is not."""

from __future__ import annotations

from collections.abc import Sequence

from saldiag.core.findings.edit import COMPILE, Edit, Plain
from saldiag.core.findings.rule import source_of
from saldiag.core.measurement import LayerCall, Measurements, ProgramPlaces, TrainingPlan, Wiring
from saldiag.rules.shared.training_plan import SILENT
from saldiag.rules.shared.wording import label, number

Edits = tuple[Edit, ...]
ARE_ACTIVATIONS = frozenset({"ELU", "LeakyReLU", "PReLU", "ReLU", "Softmax"})
"""Layers that are an activation, and take none as an argument."""
CLASSES = {
    "binary_crossentropy": "BinaryCrossentropy",
    "categorical_crossentropy": "CategoricalCrossentropy",
    "sparse_categorical_crossentropy": "SparseCategoricalCrossentropy",
}
"""Of the losses that take ``from_logits``."""


def all_or_none(*parts: Edits) -> Edits:
    """All of them together; where one is missing the rest would mend half of it: none."""
    return tuple(edit for part in parts for edit in part) if all(parts) else ()


def of_layer(
    measured: Measurements, call: LayerCall, argument: str, old: Plain, new: str
) -> Edits:  # fmt: skip
    """Another value for an argument of the line that makes a layer."""
    source = source_of(measured, call.layer)
    if source is None:
        return ()
    return (Edit(source, call.kind, argument, old, new, layer=call.layer),)


def activation(measured: Measurements, call: LayerCall, new: str | None) -> Edits:
    """Another activation for a layer, or none."""
    if call.kind in ARE_ACTIVATIONS:
        return ()
    none = '"linear"' if call.kind == "Activation" else "None"
    text = none if new is None else f'"{new}"'
    return of_layer(measured, call, "activation", call.activation, text)


def loss(measured: Measurements, new: str) -> Edits:
    """Another loss, by its name, where the model is compiled with one loss for one output."""
    wiring, place = measured.need(Wiring), measured.get(ProgramPlaces)
    custom = wiring.loss.startswith("custom:")
    if place is None or place.compiled is None or custom or wiring.losses:
        return ()
    return (Edit(place.compiled, COMPILE, "loss", wiring.loss, f'"{new}"'),)


def from_logits(measured: Measurements, new: bool) -> Edits:
    """The loss told that it gets logits, or that it does not."""
    wiring = measured.need(Wiring)
    kind = CLASSES.get(wiring.loss)
    if kind is None or wiring.losses:
        return ()
    return _compiled_with(measured, "loss", kind, "from_logits", not new, str(new))


def of_optimizer(measured: Measurements, argument: str, old: float, new: float) -> Edits:
    """Another number for an argument of the optimizer."""
    kind = measured.need(Wiring).optimizer
    return _compiled_with(measured, "optimizer", kind, argument, old, number(new))


def learning_rate(measured: Measurements, new: float) -> Edits:
    """Another learning rate, where it is a number that nothing else in the program sets."""
    wiring, plan = measured.get(Wiring), measured.get(TrainingPlan)
    if wiring is None or plan is None or not new > 0 or plan.schedule != "constant":
        return ()
    if any(callback.kind not in SILENT for callback in plan.callbacks):
        return ()  # it may set the rate
    return of_optimizer(measured, "learning_rate", wiring.learning_rate, new)


def _compiled_with(
    measured: Measurements, within: str, kind: str, argument: str, old: Plain, new: str
) -> Edits:
    place = measured.get(ProgramPlaces)
    if place is None or place.compiled is None:
        return ()
    return (Edit(place.compiled, kind, argument, old, new, within=within),)


def told(certain: Edits) -> str:
    """Edits of layers as one line of advice; empty where there are none."""
    said = [(f"{edit.argument}={edit.new}", f"in {label(edit.layer)}") for edit in certain]
    first = [f"{what}  # {where}" for what, where in said[:1]]
    return "; ".join([*first, *(f"{what} {where}" for what, where in said[1:])])


def layers_of(calls: Sequence[LayerCall]) -> list[LayerCall]:
    """One call for each layer."""
    return list({call.layer: call for call in calls}.values())
