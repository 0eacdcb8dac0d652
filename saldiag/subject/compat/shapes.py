"""``batch_input_shape=``: a shape of the input that has the size of the batch."""

from __future__ import annotations

import functools
import inspect
import weakref
from collections.abc import Callable
from typing import Any

from saldiag.keras_internals.layers import has_layers, input_shape_argument
from saldiag.subject.compat.entries import OnUse

_BATCH_SIZES: weakref.WeakKeyDictionary[Any, int | None] = weakref.WeakKeyDictionary()
"""The batch size that a layer was made for."""


def wrap_layer_init(original: Callable[..., Any], tell: OnUse) -> Callable[..., Any]:
    """``Layer.__init__``: the shape without the batch, which today's Keras knows."""

    @functools.wraps(original)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807 - it is that method
        shape = kwargs.pop("batch_input_shape", None)
        if shape is not None:
            tell()
            kwargs["input_shape"] = tuple(shape[1:])
        original(self, *args, **kwargs)
        if shape is not None:
            _BATCH_SIZES[self] = shape[0]

    # Keras reads the names of a layer's arguments, and does not look for what is wrapped.
    vars(__init__)["__signature__"] = inspect.signature(original)
    return __init__


def wrap_sequential_add(original: Callable[..., Any], _tell: OnUse) -> Callable[..., Any]:
    """``Sequential.add``: the first layer's shape, with the size of the batch."""

    @functools.wraps(original)
    def add_(self: Any, layer: Any, *args: Any, **kwargs: Any) -> Any:
        size = _BATCH_SIZES.get(layer) if not has_layers(self) else None
        if size is not None:
            import keras

            original(self, keras.Input(batch_shape=(size, *input_shape_argument(layer))))
        return original(self, layer, *args, **kwargs)

    return add_
