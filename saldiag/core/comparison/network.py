"""Added, removed and changed layers, regardless of the numbers in Keras' layer names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from saldiag.core.comparison.layers import Layers, common_inputs, partners
from saldiag.core.comparison.rows import LAYER, Row, flat, rows_of
from saldiag.core.comparison.settings import shape_text
from saldiag.core.measurement import DtypeRow, DtypeTrace, LayerCall, Wiring

Facts = dict[str, Any]


def compare_networks(
    wirings: Sequence[Wiring | None], traces: Sequence[DtypeTrace | None]
) -> tuple[list[Row], list[dict[str, str]]]:
    """A row for each fact of each layer call, and the names of each run's layers in the first.

    Without the wiring of all runs there are no rows: a network that was not looked at has not lost
    its layers.
    """
    if any(wiring is None for wiring in wirings):
        return [], [{} for _ in wirings]
    networks = [Layers(wiring) for wiring in wirings if wiring is not None]
    pairs = [partners(networks[0], other) for other in networks]
    called = [
        {other.calls[path].layer: networks[0].calls[base].layer for base, path in pair.items()}
        for other, pair in zip(networks, pairs, strict=True)
    ]
    return _rows(networks, pairs, [_dtypes(trace) for trace in traces]), called


def _dtypes(trace: DtypeTrace | None) -> dict[str, DtypeRow]:
    return {row.path: row for row in trace.rows} if trace else {}


def _rows(
    networks: list[Layers], pairs: list[dict[str, str]], dtypes: list[dict[str, DtypeRow]]
) -> list[Row]:
    inputs = common_inputs(networks, pairs)
    sides = list(zip(networks, dtypes, inputs, strict=True))
    rows: list[Row] = []
    for place in _places(networks, pairs):
        facts = [
            _facts(network.calls[path], traced.get(path), came[path]) if path is not None else None
            for (network, traced, came), path in zip(sides, place, strict=True)
        ]
        rows += _of_layer(_title(place), facts)
    return rows


def _title(place: tuple[str | None, ...]) -> str:
    """The name of a layer call in the first run that has it."""
    return next(path for path in place if path is not None) or "(model)"


def _of_layer(title: str, facts: list[Facts | None]) -> list[Row]:
    """All facts of a layer that all runs have; of any other layer a description."""
    everywhere = [each for each in facts if each is not None]
    if len(everywhere) < len(facts):
        told = tuple(_told(each) if each else None for each in facts)
        return [Row("network", LAYER, told, title)]
    return rows_of("network", everywhere, title)


def _places(networks: list[Layers], pairs: list[dict[str, str]]) -> list[tuple[str | None, ...]]:
    """The path of each layer call in each run: first those of the first run, then the others."""
    first = networks[0].calls
    places: list[tuple[str | None, ...]] = [
        tuple(pair.get(path) for pair in pairs) for path in first
    ]
    added = [
        [path for path in network.calls if path not in set(pair.values())]
        for network, pair in zip(networks, pairs, strict=True)
    ]
    names = dict.fromkeys(path for paths in added for path in paths)
    return places + [tuple(name if name in paths else None for paths in added) for name in names]


def _facts(call: LayerCall, dtype: DtypeRow | None, inputs: tuple[str, ...]) -> Facts:
    facts: Facts = {
        "class": call.kind,
        "output": ", ".join(shape_text(shape) for shape in call.output_shapes),
        "activation": call.activation,
        "trainable": call.trainable,
        "trainable parameters": call.parameters,
        **dict(flat(call.config)),
        "inputs": ", ".join(inputs) or None,
    }
    if dtype is not None:
        facts |= {"computes in": dtype.compute, "variables": dtype.variable}
    return facts


def _told(facts: Facts) -> str:
    """A short description of a layer that only some runs have."""
    parameters = facts["trainable parameters"]
    more = f", {parameters:,} trainable parameters" if parameters else ""
    return f"{facts['class']}, output {facts['output'] or 'unknown'}{more}"
