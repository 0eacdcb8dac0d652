"""Distance of a variable's values from the distribution that its initializer draws from."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from scipy import stats

from saldiag.core.keras_types import KerasLayer, KerasVariable
from saldiag.core.measurement import Array

MAX_TESTED_VALUES = 20_000
"""A sample of this many values is enough for the test statistic."""
_TRUNCATED_NORMAL_STD = 0.87962566103423978
"""Standard deviation of a standard normal truncated at ±2; Keras scales ``stddev`` up by it."""


def start_distance(layer: KerasLayer, variable: KerasVariable) -> float:
    """Kolmogorov-Smirnov distance to the initializer's distribution, times the root of the size.

    If the values are still the initial ones, 1.63 is exceeded in 1 % of cases (Massey, 1951). For a
    constant initializer (zeros, ones) it is 0.0 if every value is the constant, else inf. nan if
    the initializer is unknown or has no such distribution (orthogonal, identity, custom), and if a
    value is not finite.

    Args:
        layer: the layer that owns the variable.
        variable: a built Keras variable of that layer.
    """
    initializer = initializer_of(layer, str(variable.name))
    values = np.asarray(keras.ops.convert_to_tensor(variable.value).numpy(), np.float64).ravel()
    if initializer is None or not values.size or not np.isfinite(values).all():
        return float("nan")
    constant = _constant_value(initializer)
    if constant is not None:
        return 0.0 if bool((values == np.float32(constant)).all()) else float("inf")
    distribution = _initial_distribution(layer, initializer, tuple(int(n) for n in variable.shape))
    if distribution is None:
        return float("nan")
    values = _random_subset(values)
    return float(stats.kstest(values, distribution.cdf).statistic) * math.sqrt(values.size)


def _random_subset(values: Array) -> Array:
    """At most ``MAX_TESTED_VALUES`` of the values, drawn without replacement, with a fixed seed."""
    if values.size <= MAX_TESTED_VALUES:
        return values
    return np.random.default_rng(0).choice(values, MAX_TESTED_VALUES, replace=False)


def initializer_of(layer: KerasLayer, role: str) -> Any:
    """The initializer that a layer uses for its variable named ``role``; None if it is unknown."""
    if role == "bias" and getattr(layer, "unit_forget_bias", False):
        return None  # an LSTM initialises one quarter of it with 1
    names = [role, role.removesuffix("_kernel"), *(["depthwise"] if role == "kernel" else [])]
    candidates = (getattr(layer, f"{name}_initializer", None) for name in names)
    return next((initializer for initializer in candidates if initializer is not None), None)


def _constant_value(initializer: Any) -> float | None:
    """The value of a constant initializer; None for others."""
    if isinstance(initializer, keras.initializers.Zeros):
        return 0.0
    if isinstance(initializer, keras.initializers.Ones):
        return 1.0
    is_number = isinstance(getattr(initializer, "value", None), (int, float))
    if isinstance(initializer, keras.initializers.Constant) and is_number:
        return float(initializer.value)
    return None


def _initial_distribution(layer: KerasLayer, initializer: Any, shape: tuple[int, ...]) -> Any:
    """The scipy distribution of an initializer's values; None if there is none."""
    kinds = keras.initializers
    if isinstance(initializer, kinds.VarianceScaling):
        return _variance_scaling(layer, initializer, shape)
    if type(initializer) is kinds.RandomNormal:
        return stats.norm(initializer.mean, initializer.stddev)
    if type(initializer) is kinds.TruncatedNormal:
        return stats.truncnorm(-2, 2, initializer.mean, initializer.stddev)
    if type(initializer) is kinds.RandomUniform:
        low, high = initializer.minval, initializer.maxval
        return stats.uniform(low, high - low)
    return None


def _variance_scaling(layer: KerasLayer, initializer: Any, shape: tuple[int, ...]) -> Any:
    """Glorot, He, LeCun and the general form, as Keras draws them."""
    fan_in, fan_out = _fan_in_out(layer, initializer, shape)
    fans = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}
    variance = initializer.scale / max(1.0, fans[initializer.mode])
    if initializer.distribution == "uniform":
        limit = math.sqrt(3 * variance)
        return stats.uniform(-limit, 2 * limit)
    if initializer.distribution == "untruncated_normal":
        return stats.norm(0, math.sqrt(variance))
    return stats.truncnorm(-2, 2, 0, math.sqrt(variance) / _TRUNCATED_NORMAL_STD)


def _fan_in_out(layer: KerasLayer, initializer: Any, shape: tuple[int, ...]) -> tuple[float, float]:
    """Number of inputs and outputs of a weight of that shape, as Keras counts them."""
    if isinstance(layer, keras.layers.EinsumDense) and hasattr(initializer, "input_axes"):
        return _einsum_fans(str(layer.equation), shape)
    if not shape:
        return 1, 1
    if len(shape) == 1:
        return shape[0], shape[0]
    field = math.prod(shape[:-2])
    return field * shape[-2], field * shape[-1]


def _einsum_fans(equation: str, shape: tuple[int, ...]) -> tuple[float, float]:
    """Fans of an ``EinsumDense`` kernel (as in attention): axes of its output count as outputs."""
    operands, _, output = equation.partition("->")
    axes = list(zip(operands.split(",")[1], shape, strict=True))
    inputs = math.prod(size for axis, size in axes if axis not in output)
    return inputs, math.prod(size for axis, size in axes if axis in output)
