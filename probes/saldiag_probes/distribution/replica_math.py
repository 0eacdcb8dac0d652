"""Numbers of one step of one replica, as tensors of its graph (or eager ones)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from saldiag.core.keras_types import Gradient, KerasModel, KerasOptimizer, Tensor
from saldiag.keras_internals.layers import flattened_layers

_CLIP = "clip_by_"
"""Part of the names of the operations that ``tf.clip_by_norm`` and its likes create."""
_MAX_HOPS = 6
"""Operations between clipping and the optimizer."""


def number(value: float) -> Tensor:
    """A float64 scalar."""
    return tf.constant(value, tf.float64)


def loss_scale(optimizer: KerasOptimizer) -> Tensor:
    """The factor on the loss of this step, float64; 1 without loss scaling."""
    scaled: Any = optimizer
    if isinstance(scaled, keras.optimizers.LossScaleOptimizer):
        scale = scaled.dynamic_scale.value if scaled.built else scaled.initial_scale
    else:
        scale = scaled.loss_scale_factor or 1.0
    return tf.cast(scale, tf.float64)


def item_count(inputs: Sequence[Tensor]) -> Tensor:
    """Size of the first axis of the inputs, float64; NaN without inputs."""
    return tf.cast(tf.shape(inputs[0])[0], tf.float64) if inputs else number(np.nan)


def fingerprint(inputs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """The sum of all elements, and a sum weighted by position; NaN without inputs."""
    if not inputs:
        return number(np.nan), number(np.nan)
    total, weighted = number(0.0), number(0.0)
    for tensor in inputs:
        flat = _as_numbers(tf.reshape(tensor, [-1]))
        positions = tf.cast(tf.range(tf.size(flat)), tf.float64)
        total += tf.reduce_sum(flat)
        weighted += tf.reduce_sum(flat * tf.sin(positions + 1.0))
    return total, weighted


def _as_numbers(flat: Tensor) -> Tensor:
    if flat.dtype == tf.string:
        flat = tf.strings.to_hash_bucket_fast(flat, 1 << 20)
    if flat.dtype.is_complex:
        flat = tf.abs(flat)
    return tf.cast(flat, tf.float64)


def gradient_sizes(gradients: Sequence[Gradient]) -> tuple[Tensor, Tensor, Tensor]:
    """Norm of all gradients, largest norm of one, largest |element|; NaN without gradients."""
    if not gradients:
        return number(np.nan), number(np.nan), number(np.nan)
    dense = [tf.cast(_dense(gradient), tf.float32) for gradient in gradients]
    squares = tf.stack([tf.reduce_sum(tf.square(gradient)) for gradient in dense])
    squares = tf.cast(squares, tf.float64)
    largest = tf.reduce_max(
        tf.stack([tf.reduce_max(tf.abs(tf.reshape(gradient, [-1]))) for gradient in dense])
    )
    largest = tf.cast(largest, tf.float64)
    return tf.sqrt(tf.reduce_sum(squares)), tf.sqrt(tf.reduce_max(squares)), largest


def _dense(gradient: Gradient) -> Tensor:
    """The gradient as a tensor; of slices the rows, summed by index where the shape is known."""
    if not isinstance(gradient, tf.IndexedSlices):
        return gradient
    shape = None if gradient.dense_shape is None else tf.get_static_value(gradient.dense_shape)
    if shape is None:
        return gradient.values
    return tf.math.unsorted_segment_sum(gradient.values, gradient.indices, int(shape[0]))


def relation(gradients: Sequence[Sequence[Gradient]], scale: Tensor) -> Tensor:
    """Norm of the sum of the replicas' gradients, and the smallest cosine of two (2)."""
    count = len(gradients)
    products = tf.zeros([count, count], tf.float64)
    for variable in zip(*gradients, strict=True):
        if any(isinstance(gradient, tf.IndexedSlices) for gradient in variable):
            return tf.fill([2], number(np.nan))
        flat = tf.stack([tf.reshape(tf.cast(g, tf.float64), [-1]) for g in variable])
        products += tf.matmul(flat, flat, transpose_b=True)
    norms = tf.sqrt(tf.linalg.diag_part(products))
    cosines = products / (norms[:, tf.newaxis] * norms[tf.newaxis, :])
    return tf.stack([tf.sqrt(tf.reduce_sum(products)) / scale, tf.reduce_min(cosines)])


def full_penalty(model: KerasModel) -> Tensor:
    """Sum of the regularizers of all weights, float64; NaN without any."""
    parts = [
        tf.cast(weight.regularizer(weight), tf.float64)
        for layer in flattened_layers(model)
        for weight in _own_regularized(layer)
    ]
    return tf.add_n([tf.reduce_sum(part) for part in parts]) if parts else number(np.nan)


def _own_regularized(layer: Any) -> list[Any]:
    from saldiag.keras_internals.layers import own_trainable_variables

    return [w for w in own_trainable_variables(layer) if getattr(w, "regularizer", None)]


def updated_totals(totals: Tensor, items: Tensor, loss: Tensor | None) -> Tensor:
    """Fewest and most items, steps without items, and those of them with a loss not finite."""
    empty = tf.cast(items < 0.5, tf.float64)
    finite = tf.constant(True) if loss is None else tf.math.is_finite(loss)
    broken = empty * tf.cast(tf.logical_not(finite), tf.float64)
    return tf.stack(
        [
            tf.minimum(totals[0], items),
            tf.maximum(totals[1], items),
            totals[2] + empty,
            totals[3] + broken,
        ]
    )


def clipping_operation(gradients: Sequence[Gradient]) -> Any | None:
    """The operation that clips a gradient on its way to the optimizer; None without one."""
    for gradient in gradients:
        tensor = gradient.values if isinstance(gradient, tf.IndexedSlices) else gradient
        if not tf.is_symbolic_tensor(tensor):
            return None
        operation = tensor.op
        for _ in range(_MAX_HOPS):
            if _CLIP in operation.name:
                return operation
            if not operation.inputs:
                break
            operation = operation.inputs[0].op
    return None


def constant_factor(tensor: Tensor) -> float:
    """By which constant the graph multiplies a scalar after it was computed; 1 if by none."""
    factor = 1.0
    for consumer in tensor.consumers():
        inputs = list(consumer.inputs)
        if consumer.type not in {"Mul", "RealDiv", "DivNoNan"} or len(inputs) != 2:
            continue
        constant = tf.get_static_value(inputs[1] if inputs[0] is tensor else inputs[0])
        if constant is None or np.size(constant) != 1:
            continue
        value = float(np.ravel(constant)[0])
        factor = value if consumer.type == "Mul" else 1.0 / value
    return factor
