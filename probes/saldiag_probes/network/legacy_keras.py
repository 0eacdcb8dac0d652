"""Objects of the Keras before Keras 3 that a model of Keras 3 holds, told by their classes' names.

Keras 3 does not know them: it neither tracks their variables nor saves them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from saldiag.core.measurement import ForeignObject, ForeignObjects
from saldiag.keras_internals.layers import nested_layers
from saldiag.keras_internals.names import KERAS_2_IN_KERAS, KERAS_2_IN_TENSORFLOW
from saldiag_probes.trace.paths import layer_paths

PACKAGES = ("tf_keras", KERAS_2_IN_TENSORFLOW, KERAS_2_IN_KERAS)


def measure_foreign(model: Any, callbacks: tuple[Any, ...] = ()) -> ForeignObjects:
    """Look through the attributes of the model and of its layers, its optimizer, loss, callbacks.

    Lists, tuples and dictionaries are looked into, other objects are not.
    """
    found: dict[int, ForeignObject] = {}
    for layer, path in ((model, ""), *_inside(model)):
        # What TensorFlow's tracking notes of an attribute stands under a private name.
        for name, value in sorted(vars(layer).items(), key=lambda entry: entry[0][0] == "_"):
            _note(found, "/".join(filter(None, (path, name))), value, path)
    for index, callback in enumerate(callbacks):
        _note(found, f"callbacks[{index}]", callback, None)
    _note(found, "optimizer", getattr(model, "optimizer", None), None)
    _note(found, "loss", getattr(model, "loss", None), None)
    return ForeignObjects(tuple(found.values()))


def _inside(model: Any) -> Iterator[tuple[Any, str]]:
    paths = layer_paths(model)
    for layer in nested_layers(model):
        yield layer, paths.get(id(layer), layer.name)


def _note(found: dict[int, ForeignObject], place: str, value: Any, layer: str | None) -> None:
    for item in _items(value):
        package = _package(item)
        if package is not None and id(item) not in found:
            found[id(item)] = ForeignObject(
                place, type(item).__name__, package, _parameters(item), layer
            )


def _items(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, (list, tuple)):
        yield from value
    else:
        yield value


def _package(item: Any) -> str | None:
    """The foreign package that the item's class, or one that it is derived from, is of."""
    if isinstance(item, (type, str, int, float, keras.layers.Layer)):
        return None
    modules = [cls.__module__ for cls in type(item).__mro__]
    return next((p for p in PACKAGES for m in modules if m == p or m.startswith(f"{p}.")), None)


def _parameters(item: Any) -> int:
    variables = getattr(item, "trainable_weights", None) or ()
    return sum(int(np.prod(variable.shape)) for variable in variables)
