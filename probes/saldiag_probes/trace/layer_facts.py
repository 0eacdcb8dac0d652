"""What a layer says of itself: activation, axis, plain configuration, size."""

from __future__ import annotations

import functools
import math
from typing import Any

import keras

from saldiag.keras_internals.classes import Functional
from saldiag.keras_internals.layers import flattened_layers, takes_training_argument

_BY_CLASS = {
    "Softmax": "softmax",
    "LeakyReLU": "leaky_relu",
    "PReLU": "prelu",
    "ELU": "elu",
    "ThresholdedReLU": "thresholded_relu",
}
_LINEAR = frozenset({None, "linear"})

#: Operations of the graph that are activations, by their TensorFlow type.
ACTIVATION_OPS = {
    "Softmax": "softmax",
    "LogSoftmax": "log_softmax",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "Relu": "relu",
    "Relu6": "relu6",
    "LeakyRelu": "leaky_relu",
    "Elu": "elu",
    "Selu": "selu",
    "Softplus": "softplus",
    "Softsign": "softsign",
}


def activation_name(layer: Any) -> str | None:
    """Name of the activation function that a layer applies, None for none or ``linear``.

    A function of the user's has its ``__name__``; an activation that is a layer (``LeakyReLU()``
    as an argument) the name of what that layer does.
    """
    kind = type(layer).__name__
    if isinstance(layer, keras.layers.ReLU):
        return "relu6" if layer.max_value == 6 else "relu"
    if kind in _BY_CLASS and isinstance(layer, getattr(keras.layers, kind, ())):
        return _BY_CLASS[kind]
    function = getattr(layer, "activation", None)
    if isinstance(function, keras.layers.Layer):
        return activation_name(function)
    name = _function_name(function)
    return None if name in _LINEAR else name


def _function_name(function: Any) -> str | None:
    while isinstance(function, functools.partial):
        function = function.func
    if not callable(function):
        return None
    return str(getattr(function, "__name__", type(function).__name__))


def activation_axis(layer: Any, rank: int | None) -> int | None:
    """The axis over which a softmax normalises, counted from the front; None for others."""
    if rank is None or activation_name(layer) not in {"softmax", "log_softmax"}:
        return None
    axis = getattr(layer, "axis", -1) if isinstance(layer, keras.layers.Softmax) else -1
    axes = axis if isinstance(axis, (tuple, list)) else (axis,)
    return int(axes[0]) % rank if len(axes) == 1 and rank else None


def activation_of_op(tensor: Any) -> str | None:
    """The activation that made a tensor, told by the graph's operation (casts looked through)."""
    op = tensor.op
    while op.type in {"Identity", "Cast", "Reshape"} and op.inputs:
        op = op.inputs[0].op
    return ACTIVATION_OPS.get(op.type)


def parameters(layer: Any) -> int:
    """Number of elements of all weights of a layer and of those inside it."""
    return sum(math.prod(int(n) for n in weight.shape) for weight in layer.weights)


def plain_config(layer: Any) -> dict[str, Any]:
    """The part of ``get_config()`` that is numbers, flags, short text and lists of those.

    Empty for models (theirs repeats every layer) and for layers that cannot tell.
    """
    if isinstance(layer, keras.Model):
        return {}
    try:
        config = layer.get_config()
    except Exception:  # a custom layer's own code
        return {}
    return plain(config)


def plain(config: Any) -> dict[str, Any]:
    """The entries of a configuration that are plain values."""
    if not isinstance(config, dict):
        return {}
    kept = {str(key): _plain(value) for key, value in config.items() if key != "name"}
    return {key: value for key, value in kept.items() if value is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return value[:200]
    if isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, (tuple, list)):
        parts = [_plain(part) for part in value[:16]]
        return None if any(part is None for part in parts) else parts
    return None


def depends_on_mode(model: Any) -> bool:
    """Whether training and inference may differ: not in a graph of Keras' own plain layers.

    A layer of the user's, or a function in a ``Lambda``, can call others that nobody knows of.
    """
    return any(map(_depends_on_mode, flattened_layers(model)))


def _depends_on_mode(layer: Any) -> bool:
    kind = type(layer)
    if kind in _BY_QUANTIZATION:
        return layer.quantization_mode is not None
    if kind in _BY_DROPOUT:
        return bool(layer.dropout or layer.recurrent_dropout)
    if kind in (keras.Sequential, Functional):
        return False
    own = kind.__module__.startswith("keras.") and kind is not keras.layers.Lambda
    return not own or takes_training_argument(layer)


_BY_QUANTIZATION = (keras.layers.Dense, keras.layers.EinsumDense)
_BY_DROPOUT = (
    keras.layers.LSTM, keras.layers.GRU, keras.layers.SimpleRNN,
    keras.layers.LSTMCell, keras.layers.GRUCell, keras.layers.SimpleRNNCell,
)  # fmt: skip
"""They take ``training`` for the sake of this alone."""
