"""How a loss answers to other targets, and to predictions that are the targets themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from saldiag.keras_internals.compilation import loss_method
from saldiag_probes.state.isolation import undisturbed
from saldiag_probes.trace.execution import graph_as_built
from saldiag_probes.trace.recorder import as_batch

OFF = 0.25
"""How far off the targets, as a share of the way to the plain predictions."""


def answers(model: Any, batch: Any, y_pred: Any) -> dict[str, Any]:
    """Fields of ``LossCheck``; empty where targets and predictions are not of one shape."""
    data = as_batch(batch)
    given, predicted = _pair(data.y, y_pred)
    if given is None:
        return {}

    def loss(target: Any, prediction: Any) -> float:
        return float(
            loss_method(model)(
                x=data.x, y=target, y_pred=prediction, sample_weight=None, training=False
            )
        )

    perfect = tf.reshape(tf.cast(given, predicted.dtype), predicted.shape)
    away = OFF * (predicted - perfect)
    try:
        with undisturbed(model), graph_as_built():
            others = [loss(other, predicted) for other in _others(given)]
            return {
                "against_targets": loss(given, predicted),
                "at_targets": loss(given, perfect),
                "around_targets": (loss(given, perfect + away), loss(given, perfect - away)),
                "against_others": (min(others), max(others)) if others else (),
            }
    except Exception:  # the user's own loss
        return {}


def _pair(y: Any, y_pred: Any) -> tuple[Any, Any]:
    """Targets and predictions, which belong together one by one, or nothing.

    Of predictions (n, 1) and targets (n) Keras makes one shape.
    """
    alone = isinstance(y, tf.Tensor) and not isinstance(y_pred, (dict, list, tuple))
    if not alone or not (y.dtype.is_floating or y.dtype.is_integer):
        return None, None
    predicted = tf.constant(y_pred)
    if not predicted.dtype.is_floating or not _one_by_one(list(y.shape), list(predicted.shape)):
        return None, None
    return y, predicted


def _one_by_one(target: list[int], predicted: list[int]) -> bool:
    return predicted in (target, [*target, 1], target[:-1] if target[-1:] == [1] else target)


def _others(y: Any) -> Iterator[Any]:
    """Targets that differ: each sample's neighbour's, the range upside down, its lowest for all."""
    numbers = np.asarray(keras.ops.convert_to_numpy(y))
    if numbers.size == 0 or numbers.min() == numbers.max():
        return
    yield tf.roll(y, 1, axis=0)
    yield tf.constant(numbers.max() + numbers.min() - numbers, y.dtype)
    yield tf.constant(np.full_like(numbers, numbers.min()), y.dtype)
