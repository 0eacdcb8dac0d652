"""Objects of a Keras before version 3 in a Keras 3 model, recognised by their class's module.

Keras 3 does not know such objects: it neither tracks their variables nor saves them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from saldiag.core.keras_types import KerasModel
from saldiag.core.measurement import ForeignObject, ForeignObjects
from saldiag.keras_internals.layers import nested_layers
from saldiag.keras_internals.names import KERAS_2_IN_KERAS, KERAS_2_IN_TENSORFLOW
from saldiag_probes.trace.paths import layer_paths

LEGACY_PACKAGES = ("tf_keras", KERAS_2_IN_TENSORFLOW, KERAS_2_IN_KERAS)
"""Packages whose classes Keras 3 does not recognise."""


def measure_foreign_objects(model: KerasModel, callbacks: tuple[Any, ...] = ()) -> ForeignObjects:
    """Legacy objects in attributes of the model and its layers, its optimizer, loss and callbacks.

    Lists, tuples and dictionaries are searched one level deep, other objects are not.

    Args:
        model: a Keras 3 model.
        callbacks: the callbacks passed to ``fit``.
    """
    found: dict[int, ForeignObject] = {}
    for layer, path in ((model, ""), *_layers_with_paths(model)):
        # Public names first: TensorFlow's tracking keeps copies of attributes under private names.
        for name, value in sorted(vars(layer).items(), key=lambda entry: entry[0][0] == "_"):
            _add_objects(found, "/".join(filter(None, (path, name))), value, path)
    for index, callback in enumerate(callbacks):
        _add_objects(found, f"callbacks[{index}]", callback, None)
    _add_objects(found, "optimizer", getattr(model, "optimizer", None), None)
    _add_objects(found, "loss", getattr(model, "loss", None), None)
    return ForeignObjects(tuple(found.values()))


def _layers_with_paths(model: KerasModel) -> Iterator[tuple[Any, str]]:
    paths = layer_paths(model)
    for layer in nested_layers(model):
        yield layer, paths.get(id(layer), layer.name)


def _add_objects(
    found: dict[int, ForeignObject], place: str, value: Any, layer: str | None
) -> None:
    for item in _contained_items(value):
        package = _legacy_package(item)
        if package is not None and id(item) not in found:
            found[id(item)] = ForeignObject(
                place, type(item).__name__, package, _count_parameters(item), layer
            )


def _contained_items(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, (list, tuple)):
        yield from value
    else:
        yield value


def _legacy_package(item: Any) -> str | None:
    """The legacy package that the object's class or one of its bases belongs to."""
    if isinstance(item, (type, str, int, float, keras.layers.Layer)):
        return None
    modules = [cls.__module__ for cls in type(item).__mro__]
    return next(
        (p for p in LEGACY_PACKAGES for m in modules if m == p or m.startswith(f"{p}.")), None
    )


def _count_parameters(item: Any) -> int:
    variables = getattr(item, "trainable_weights", None) or ()
    return sum(int(np.prod(variable.shape)) for variable in variables)
