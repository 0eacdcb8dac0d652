"""Splits the measurements of a model with several losses into one set per loss."""

from __future__ import annotations

from dataclasses import replace

from saldiag.core.measurement import DataFacts, Measurements, OutputLoss, Wiring


def by_loss(measured: Measurements) -> list[Measurements]:
    """One set of measurements per loss, with the outputs and targets of that loss.

    ``Wiring.losses`` keeps all losses in each set. A model with a single loss gives the
    measurements unchanged.
    """
    wiring = measured.get(Wiring)
    if wiring is None or not wiring.losses:
        return [measured]
    return [_measurements_for_loss(loss, wiring, measured) for loss in wiring.losses]


def _measurements_for_loss(
    loss: OutputLoss, wiring: Wiring, measured: Measurements
) -> Measurements:
    wiring_of_loss = replace(wiring, loss=loss.loss, loss_config=loss.config, judged=loss.outputs)
    facts = measured.get(DataFacts)
    count = sum(len(each.places) for each in wiring.losses)
    if facts is None or {len(facts.targets), len(facts.predictions)} != {count}:
        return measured.with_(wiring_of_loss)
    targets = tuple(facts.targets[place] for place in loss.places)
    predictions = tuple(facts.predictions[place] for place in loss.places)
    return measured.with_(wiring_of_loss, replace(facts, targets=targets, predictions=predictions))
