"""The layer argument ``batch_input_shape=``: an input shape that includes the batch size."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from saldiag.core.identity import WeakIdentityMap
from saldiag.core.keras_types import KerasLayer
from saldiag.keras_internals.layers import has_layers, input_shape_argument
from saldiag.subject.compat.entries import OnUse

_BATCH_SIZES: WeakIdentityMap[int | None] = WeakIdentityMap()
"""Batch size of each layer created with ``batch_input_shape``; None if it is open."""


def wrap_layer_init(original: Callable[..., Any], on_use: OnUse) -> Callable[..., Any]:
    """``Layer.__init__`` accepts ``batch_input_shape``, and removes the batch size from it."""

    @functools.wraps(original)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807 - it is that method
        shape = kwargs.pop("batch_input_shape", None)
        if shape is not None:
            on_use()
            kwargs["input_shape"] = tuple(shape[1:])
        original(self, *args, **kwargs)
        if shape is not None:
            _BATCH_SIZES[self] = shape[0]

    # Keras reads the parameter names of a layer's ``__init__`` without following ``__wrapped__``.
    vars(__init__)["__signature__"] = inspect.signature(original)
    return __init__


def wrap_sequential_add(original: Callable[..., Any], _on_use: OnUse) -> Callable[..., Any]:
    """``Sequential.add`` puts an ``Input`` with the batch size before the first layer."""

    @functools.wraps(original)
    def add_layer(self: Any, layer: KerasLayer, *args: Any, **kwargs: Any) -> Any:
        size = _BATCH_SIZES.get(layer) if not has_layers(self) else None
        if size is not None:
            import keras

            original(self, keras.Input(batch_shape=(size, *input_shape_argument(layer))))
        return original(self, layer, *args, **kwargs)

    return add_layer
