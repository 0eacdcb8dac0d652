"""Facts that a layer's own attributes hold: activation, axis, plain configuration, size."""

from __future__ import annotations

import functools
import math
from typing import Any

import keras

from saldiag.core.keras_types import KerasLayer, KerasModel, Tensor
from saldiag.keras_internals.classes import Functional
from saldiag.keras_internals.layers import flattened_layers, takes_training_argument

_ACTIVATION_LAYERS = {
    "Softmax": "softmax",
    "LeakyReLU": "leaky_relu",
    "PReLU": "prelu",
    "ELU": "elu",
    "ThresholdedReLU": "thresholded_relu",
}
"""Activation name by layer class."""
_NO_ACTIVATION = frozenset({None, "linear"})
"""Names for no activation."""

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
"""Activation name by the type of TensorFlow operation that computes it."""


def activation_name(layer: KerasLayer) -> str | None:
    """Name of the activation function that a layer applies; None for none or ``linear``.

    A user's function has its ``__name__``. If the ``activation`` argument is a layer
    (``LeakyReLU()``), it is the name of that layer's activation.
    """
    kind = type(layer).__name__
    if isinstance(layer, keras.layers.ReLU):
        return "relu6" if layer.max_value == 6 else "relu"
    if kind in _ACTIVATION_LAYERS and isinstance(layer, getattr(keras.layers, kind, ())):
        return _ACTIVATION_LAYERS[kind]
    function = getattr(layer, "activation", None)
    if isinstance(function, keras.layers.Layer):
        return activation_name(function)
    name = _function_name(function)
    return None if name in _NO_ACTIVATION else name


def _function_name(function: Any) -> str | None:
    while isinstance(function, functools.partial):
        function = function.func
    if not callable(function):
        return None
    return str(getattr(function, "__name__", type(function).__name__))


def activation_axis(layer: KerasLayer, rank: int | None) -> int | None:
    """The axis over which a softmax normalises, counted from the front.

    None for other activations, for a softmax over several axes, and for an unknown rank.
    """
    if rank is None or activation_name(layer) not in {"softmax", "log_softmax"}:
        return None
    axis = getattr(layer, "axis", -1) if isinstance(layer, keras.layers.Softmax) else -1
    axes = axis if isinstance(axis, (tuple, list)) else (axis,)
    return int(axes[0]) % rank if len(axes) == 1 and rank else None


def activation_of_op(tensor: Tensor) -> str | None:
    """The activation that produced a symbolic tensor, read from the graph; None if there is none.

    Casts, reshapes and identities in between are looked through.
    """
    op = tensor.op
    while op.type in {"Identity", "Cast", "Reshape"} and op.inputs:
        op = op.inputs[0].op
    return ACTIVATION_OPS.get(op.type)


def count_parameters(layer: KerasLayer) -> int:
    """Number of elements of all weights of a layer and of the layers inside it."""
    return sum(math.prod(int(n) for n in weight.shape) for weight in layer.weights)


def plain_config(layer: KerasLayer) -> dict[str, Any]:
    """The part of ``get_config()`` that consists of numbers, flags, short text and lists of those.

    Empty for models (their configuration repeats every layer) and for layers whose ``get_config``
    fails.
    """
    if isinstance(layer, keras.Model):
        return {}
    try:
        config = layer.get_config()
    except Exception:  # raised by a custom layer
        return {}
    return plain_values(config)


def plain_values(config: Any) -> dict[str, Any]:
    """The entries of a configuration that are plain values, without ``name``.

    Text is cut at 200 characters, lists at 16 entries. Empty if ``config`` is no dictionary.
    """
    if not isinstance(config, dict):
        return {}
    entries = {str(key): _plain_value(value) for key, value in config.items() if key != "name"}
    return {key: value for key, value in entries.items() if value is not None}


def _plain_value(value: Any) -> Any:
    if isinstance(value, str):
        return value[:200]
    if isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, (tuple, list)):
        parts = [_plain_value(part) for part in value[:16]]
        return None if any(part is None for part in parts) else parts
    return None


def depends_on_mode(model: KerasModel) -> bool:
    """Whether training and inference mode may give different outputs.

    False only for a graph of Keras' own plain layers: a custom layer, or the function in a
    ``Lambda``, can call anything.
    """
    return any(map(_depends_on_mode, flattened_layers(model)))


def _depends_on_mode(layer: Any) -> bool:
    kind = type(layer)
    if kind in _TRAINING_ARGUMENT_FOR_QUANTIZATION:
        return layer.quantization_mode is not None
    if kind in _TRAINING_ARGUMENT_FOR_DROPOUT:
        return bool(layer.dropout or layer.recurrent_dropout)
    if kind in (keras.Sequential, Functional):
        return False
    is_keras = kind.__module__.startswith("keras.") and kind is not keras.layers.Lambda
    return not is_keras or takes_training_argument(layer)


_TRAINING_ARGUMENT_FOR_QUANTIZATION = (keras.layers.Dense, keras.layers.EinsumDense)
"""Layers whose ``call`` takes ``training`` for quantization only."""
_TRAINING_ARGUMENT_FOR_DROPOUT = (
    keras.layers.LSTM, keras.layers.GRU, keras.layers.SimpleRNN,
    keras.layers.LSTMCell, keras.layers.GRUCell, keras.layers.SimpleRNNCell,
)  # fmt: skip
"""Layers whose ``call`` takes ``training`` for dropout only."""
