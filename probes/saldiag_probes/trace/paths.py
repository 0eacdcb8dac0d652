"""Paths of layers and variables, the same for every kind of model.

Keras names are unique within a functional model only; a path is unique in any model, since names
that occur twice at one level get ``~2``, ``~3``, … in the order in which Keras tracks the layers.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from saldiag.keras_internals.layers import (
    child_layers,
    flattened_layers,
    own_seed_states,
    own_weights,
)


def layer_paths(model: Any) -> dict[int, str]:
    """Path of the model (``""``) and of every layer in it, keyed by ``id(layer)``.

    Layers are found where Keras finds them: nested models, and layers held in attributes, lists,
    tuples and dictionaries. A layer in several places has the path where a walk from the top down
    first meets it. The order is that of the walk: a layer stands before the layers inside it.
    """
    paths: dict[int, str] = {}
    pending = [("", model)]
    while pending:
        path, layer = pending.pop()
        if id(layer) in paths:
            continue
        paths[id(layer)] = path
        children = child_layers(layer)
        names = _unique(child.name for child in children)
        named = [(_join(path, name), child) for name, child in zip(names, children, strict=True)]
        pending.extend(reversed(named))
    return paths


def variable_paths(model: Any) -> dict[int, tuple[str, str]]:
    """``(layer path, variable path)`` of every variable of the model, keyed by ``id(variable)``.

    Covers ``model.variables`` (weights, statistics, seed states), not the metrics'. A variable
    that no layer owns keeps Keras' own path and has the empty layer path. A variable in several
    layers (tied weights) belongs to the first.
    """
    found: dict[int, tuple[str, str]] = {}
    taken: set[str] = set()
    for layer, path in _layers_by_path(model):
        own = _own_variables(layer)
        for name, variable in zip(_unique(v.name for v in own), own, strict=True):
            if id(variable) not in found:
                found[id(variable)] = (path, _free(_join(path, name), taken))
    for variable in model.variables:
        if id(variable) not in found:
            found[id(variable)] = ("", _free(str(variable.path), taken))
    return found


def _layers_by_path(model: Any) -> list[tuple[Any, str]]:
    layers = {id(layer): layer for layer in flattened_layers(model)}
    return [(layers[key], path) for key, path in layer_paths(model).items()]


def _own_variables(layer: Any) -> list[Any]:
    """The variables that the layer itself holds, not those of layers inside it."""
    return [*own_weights(layer), *own_seed_states(layer)]


def _unique(names: Iterable[str]) -> list[str]:
    taken: set[str] = set()
    return [_free(name, taken) for name in names]


def _free(name: str, taken: set[str]) -> str:
    """``name``, or with ``~2``, ``~3``, … where it is taken; takes it."""
    candidate, number = name, 1
    while candidate in taken:
        number += 1
        candidate = f"{name}~{number}"
    taken.add(candidate)
    return candidate


def _join(path: str, name: str) -> str:
    return f"{path}/{name}" if path else name
