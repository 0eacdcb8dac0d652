"""How far a variable is from the random start that its layer's initializer would give it."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from scipy import stats

from saldiag.core.measurement import Array

SAMPLE = 20_000
"""More values than this tell nothing new, and cost time."""
_TRUNCATED_STD = 0.87962566103423978
"""Standard deviation of a normal distribution truncated at two: Keras widens by it."""


def start_distance(layer: Any, variable: Any) -> float:
    """Kolmogorov-Smirnov distance to the initializer's distribution, times the root of the size.

    Under the hypothesis that the values are still those of the start, 1.63 is exceeded in 1 % of
    cases (Massey 1951). A constant start (zeros, ones) gives 0.0 if every value is the constant,
    else inf. nan where the initializer is unknown or has no such distribution (orthogonal,
    identity, a user's own), and where values are not finite.
    """
    initializer = initializer_of(layer, str(variable.name))
    values = np.asarray(keras.ops.convert_to_tensor(variable.value).numpy(), np.float64).ravel()
    if initializer is None or not values.size or not np.isfinite(values).all():
        return float("nan")
    constant = _constant(initializer)
    if constant is not None:
        return 0.0 if bool((values == np.float32(constant)).all()) else float("inf")
    distribution = _distribution(layer, initializer, tuple(int(n) for n in variable.shape))
    if distribution is None:
        return float("nan")
    values = _sample(values)
    return float(stats.kstest(values, distribution.cdf).statistic) * math.sqrt(values.size)


def _sample(values: Array) -> Array:
    if values.size <= SAMPLE:
        return values
    return np.random.default_rng(0).choice(values, SAMPLE, replace=False)


def initializer_of(layer: Any, role: str) -> Any:
    """The initializer that a layer uses for its variable called ``role``, None if it is untold."""
    if role == "bias" and getattr(layer, "unit_forget_bias", False):
        return None  # an LSTM starts one quarter of it at 1
    names = [role, role.removesuffix("_kernel"), *(["depthwise"] if role == "kernel" else [])]
    found = (getattr(layer, f"{name}_initializer", None) for name in names)
    return next((initializer for initializer in found if initializer is not None), None)


def _constant(initializer: Any) -> float | None:
    if isinstance(initializer, keras.initializers.Zeros):
        return 0.0
    if isinstance(initializer, keras.initializers.Ones):
        return 1.0
    is_number = isinstance(getattr(initializer, "value", None), (int, float))
    if isinstance(initializer, keras.initializers.Constant) and is_number:
        return float(initializer.value)
    return None


def _distribution(layer: Any, initializer: Any, shape: tuple[int, ...]) -> Any:
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


def _variance_scaling(layer: Any, initializer: Any, shape: tuple[int, ...]) -> Any:
    """Glorot, He, LeCun and the general form, as Keras draws them."""
    fan_in, fan_out = _fans(layer, initializer, shape)
    fans = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}
    variance = initializer.scale / max(1.0, fans[initializer.mode])
    if initializer.distribution == "uniform":
        limit = math.sqrt(3 * variance)
        return stats.uniform(-limit, 2 * limit)
    if initializer.distribution == "untruncated_normal":
        return stats.norm(0, math.sqrt(variance))
    return stats.truncnorm(-2, 2, 0, math.sqrt(variance) / _TRUNCATED_STD)


def _fans(layer: Any, initializer: Any, shape: tuple[int, ...]) -> tuple[float, float]:
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
    """Of ``EinsumDense``, of which attention is made: axes that its output has are outputs."""
    operands, _, output = equation.partition("->")
    axes = list(zip(operands.split(",")[1], shape, strict=True))
    inputs = math.prod(size for axis, size in axes if axis not in output)
    return inputs, math.prod(size for axis, size in axes if axis in output)
