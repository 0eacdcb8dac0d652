"""Paths of layers and variables, the same for every kind of model.

Keras' names are unique within a functional model only. A path is unique in any model: names that
occur twice at one level get ``~2``, ``~3``, …, in the order in which Keras tracks the layers.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from saldiag.core.keras_types import KerasLayer, KerasModel
from saldiag.keras_internals.layers import (
    child_layers,
    flattened_layers,
    own_seed_states,
    own_weights,
)


def layer_paths(model: KerasModel) -> dict[int, str]:
    """Path of the model (``""``) and of every layer in it, keyed by ``id(layer)``.

    Layers are found where Keras finds them: nested models, and layers in attributes, lists, tuples
    and dictionaries. A layer in several places has the path at which a walk from the top first
    meets it. The order is that of the walk: a layer comes before the layers inside it.
    """
    paths: dict[int, str] = {}
    pending = [("", model)]
    while pending:
        path, layer = pending.pop()
        if id(layer) in paths:
            continue
        paths[id(layer)] = path
        children = child_layers(layer)
        names = _unique_names(child.name for child in children)
        named = [
            (_join_path(path, name), child) for name, child in zip(names, children, strict=True)
        ]
        pending.extend(reversed(named))
    return paths


def variable_paths(model: KerasModel) -> dict[int, tuple[str, str]]:
    """``(layer path, variable path)`` of every variable of the model, keyed by ``id(variable)``.

    Covers ``model.variables`` (weights, moving statistics, seed states), not the metrics'
    variables. A variable that no layer owns keeps Keras' own path and has the empty layer path. A
    variable in several layers (tied weights) belongs to the first.
    """
    found: dict[int, tuple[str, str]] = {}
    taken: set[str] = set()
    for layer, path in _layers_by_path(model):
        variables = _own_variables(layer)
        for name, variable in zip(_unique_names(v.name for v in variables), variables, strict=True):
            if id(variable) not in found:
                found[id(variable)] = (path, _free_name(_join_path(path, name), taken))
    for variable in model.variables:
        if id(variable) not in found:
            found[id(variable)] = ("", _free_name(str(variable.path), taken))
    return found


def _layers_by_path(model: KerasModel) -> list[tuple[Any, str]]:
    layers = {id(layer): layer for layer in flattened_layers(model)}
    return [(layers[key], path) for key, path in layer_paths(model).items()]


def _own_variables(layer: KerasLayer) -> list[Any]:
    """The variables that the layer itself holds, without those of the layers inside it."""
    return [*own_weights(layer), *own_seed_states(layer)]


def _unique_names(names: Iterable[str]) -> list[str]:
    taken: set[str] = set()
    return [_free_name(name, taken) for name in names]


def _free_name(name: str, taken: set[str]) -> str:
    """``name``, with ``~2``, ``~3``, … appended if it is taken; adds the result to ``taken``."""
    candidate, number = name, 1
    while candidate in taken:
        number += 1
        candidate = f"{name}~{number}"
    taken.add(candidate)
    return candidate


def _join_path(path: str, name: str) -> str:
    return f"{path}/{name}" if path else name
