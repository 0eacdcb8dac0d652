"""A model with different losses for its outputs, seen as so many models with one loss each."""

from __future__ import annotations

from dataclasses import replace

from saldiag.core.measurement import DataFacts, Measurements, OutputLoss, Wiring


def by_loss(measured: Measurements) -> list[Measurements]:
    """What was measured, once for each loss, with the outputs and the targets that it is for.

    In each ``Wiring.losses`` still holds them all. As it is, where there is one loss.
    """
    wiring = measured.get(Wiring)
    if wiring is None or not wiring.losses:
        return [measured]
    return [_seen_by(loss, wiring, measured) for loss in wiring.losses]


def _seen_by(loss: OutputLoss, wiring: Wiring, measured: Measurements) -> Measurements:
    own = replace(wiring, loss=loss.loss, loss_config=loss.config, judged=loss.outputs)
    facts = measured.get(DataFacts)
    count = sum(len(each.places) for each in wiring.losses)
    if facts is None or {len(facts.targets), len(facts.predictions)} != {count}:
        return measured.with_(own)
    targets = tuple(facts.targets[place] for place in loss.places)
    predictions = tuple(facts.predictions[place] for place in loss.places)
    return measured.with_(own, replace(facts, targets=targets, predictions=predictions))
