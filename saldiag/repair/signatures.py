"""Argument names of Keras' classes by position, as a table because Keras is not imported here.

It lists only what saldiag edits. A test compares it with the installed Keras.
"""

from __future__ import annotations

import math
from typing import TypeGuard

from saldiag.core.findings.edit import COMPILE, Plain

_CONV = (
    "filters", "kernel_size", "strides", "padding", "data_format", "dilation_rate", "groups",
    "activation", "use_bias",
)  # fmt: skip
_CONV_TRANSPOSE = (
    "filters", "kernel_size", "strides", "padding", "output_padding", "data_format",
    "dilation_rate", "activation", "use_bias",
)  # fmt: skip
_SEPARABLE = (
    "filters", "kernel_size", "strides", "padding", "data_format", "dilation_rate",
    "depth_multiplier", "activation", "use_bias",
)  # fmt: skip
_DEPTHWISE = (
    "kernel_size", "strides", "padding", "depth_multiplier", "data_format", "dilation_rate",
    "activation", "use_bias",
)  # fmt: skip
_ADAM = ("learning_rate", "beta_1", "beta_2", "epsilon")

POSITIONAL_ARGUMENTS: dict[str, tuple[str, ...]] = {
    COMPILE: ("optimizer", "loss"),
    "Activation": ("activation",),
    "Dense": ("units", "activation", "use_bias"),
    "EinsumDense": ("equation", "output_shape", "activation"),
    "Conv1D": _CONV,
    "Conv2D": _CONV,
    "Conv3D": _CONV,
    "Conv1DTranspose": _CONV_TRANSPOSE,
    "Conv2DTranspose": _CONV_TRANSPOSE,
    "Conv3DTranspose": (
        *_CONV_TRANSPOSE[:4],
        "data_format",
        "output_padding",
        *_CONV_TRANSPOSE[6:],
    ),
    "SeparableConv1D": _SEPARABLE,
    "SeparableConv2D": _SEPARABLE,
    "DepthwiseConv1D": _DEPTHWISE,
    "DepthwiseConv2D": _DEPTHWISE,
    "Dropout": ("rate",),
    "SpatialDropout1D": ("rate",),
    "SpatialDropout2D": ("rate",),
    "SpatialDropout3D": ("rate",),
    "Adam": _ADAM,
    "AdamW": ("learning_rate", "weight_decay", "beta_1", "beta_2", "epsilon"),
    "Adamax": _ADAM,
    "Nadam": _ADAM,
    "Lion": ("learning_rate", "beta_1", "beta_2", "weight_decay"),
    "Adagrad": ("learning_rate", "initial_accumulator_value", "epsilon"),
    "Adadelta": ("learning_rate", "rho", "epsilon"),
    "RMSprop": ("learning_rate", "rho", "momentum", "epsilon"),
    "SGD": ("learning_rate", "momentum", "nesterov", "weight_decay"),
    "BinaryCrossentropy": ("from_logits",),
    "CategoricalCrossentropy": ("from_logits",),
    "SparseCategoricalCrossentropy": ("from_logits",),
    "MeanAbsoluteError": (),
    "MeanSquaredError": (),
}
"""The leading arguments of each class, without ``self``, up to the last that can be edited."""

DTYPE = "dtype"
"""The argument that every layer accepts by keyword."""

_DEFAULTS: dict[str, Plain] = {
    "activation": None, "dtype": None, "use_bias": True, "from_logits": False, "epsilon": 1e-7,
    "learning_rate": 1e-3,
}  # fmt: skip
_CLASS_DEFAULTS: dict[tuple[str, str], Plain] = {("SGD", "learning_rate"): 1e-2}

LOSS_ALIASES: dict[str, tuple[str, ...]] = {
    "BinaryCrossentropy": ("binary_crossentropy", "bce", "BCE"),
    "CategoricalCrossentropy": ("categorical_crossentropy",),
    "SparseCategoricalCrossentropy": ("sparse_categorical_crossentropy",),
    "MeanSquaredError": ("mean_squared_error", "mse", "MSE"),
    "MeanAbsoluteError": ("mean_absolute_error", "mae", "MAE"),
}
"""Strings that select one of Keras' losses in ``compile``, created without arguments."""


def is_default(call: str, argument: str, value: Plain) -> bool:
    """Whether ``value`` is the default of the call's argument."""
    known = _CLASS_DEFAULTS.get((call, argument), _DEFAULTS.get(argument))
    if argument not in _DEFAULTS:
        return False
    return equals_measured(known, value)


def equals_measured(one: object, other: Plain) -> bool:
    """Whether a literal equals the measured value; numbers were measured in float32."""
    if _is_number(one) and _is_number(other):
        return math.isclose(one, other, rel_tol=1e-6)
    return type(one) is type(other) and one == other


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def loss_class(name: str) -> str | None:
    """The loss class that a string such as ``mse`` selects in ``compile``; None if none."""
    return next((kind for kind, names in LOSS_ALIASES.items() if name in (kind, *names)), None)
