"""Response of a loss to other targets, and to predictions equal to the targets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from saldiag.core.keras_types import BatchLike, KerasModel, TensorTree
from saldiag.keras_internals.compilation import loss_method
from saldiag_probes.state.isolation import preserved_state
from saldiag_probes.trace.batch import as_batch
from saldiag_probes.trace.execution import without_graph_optimizer

OFFSET_SHARE = 0.25
"""Offset from the targets, as a share of the distance to the predictions."""


def loss_sensitivity(model: KerasModel, batch: BatchLike, y_pred: TensorTree) -> dict[str, Any]:
    """Values of the loss, keyed by the names of ``LossCheck``'s fields.

    Empty if targets and predictions differ in shape, or the loss cannot be computed.

    Args:
        model: a compiled model.
        batch: ``(x, y)``.
        y_pred: the predictions for ``x``.
    """
    data = as_batch(batch)
    given, predicted = _matching_pair(data.y, y_pred)
    if given is None:
        return {}

    def loss_value(target: Any, prediction: Any) -> float:
        return float(
            loss_method(model)(
                x=data.x, y=target, y_pred=prediction, sample_weight=None, training=False
            )
        )

    perfect = tf.reshape(tf.cast(given, predicted.dtype), predicted.shape)
    away = OFFSET_SHARE * (predicted - perfect)
    try:
        with preserved_state(model), without_graph_optimizer():
            others = [loss_value(other, predicted) for other in _alternative_targets(given)]
            return {
                "against_targets": loss_value(given, predicted),
                "at_targets": loss_value(given, perfect),
                "around_targets": (
                    loss_value(given, perfect + away),
                    loss_value(given, perfect - away),
                ),
                "against_others": (min(others), max(others)) if others else (),
            }
    except Exception:  # raised by a custom loss
        return {}


def _matching_pair(y: TensorTree, y_pred: TensorTree) -> tuple[Any, Any]:
    """Targets and predictions if they correspond element by element, else two None.

    Keras reshapes predictions (n, 1) and targets (n) to one shape.
    """
    single_tensors = isinstance(y, tf.Tensor) and not isinstance(y_pred, (dict, list, tuple))
    if not single_tensors or not (y.dtype.is_floating or y.dtype.is_integer):
        return None, None
    predicted = tf.constant(y_pred)
    if not predicted.dtype.is_floating or not _shapes_match(list(y.shape), list(predicted.shape)):
        return None, None
    return y, predicted


def _shapes_match(target: list[int], predicted: list[int]) -> bool:
    return predicted in (target, [*target, 1], target[:-1] if target[-1:] == [1] else target)


def _alternative_targets(y: TensorTree) -> Iterator[Any]:
    """Other targets: each sample's neighbour's, the inverted range, the lowest value for all."""
    numbers = np.asarray(keras.ops.convert_to_numpy(y))
    if numbers.size == 0 or numbers.min() == numbers.max():
        return
    yield tf.roll(y, 1, axis=0)
    yield tf.constant(numbers.max() + numbers.min() - numbers, y.dtype)
    yield tf.constant(np.full_like(numbers, numbers.min()), y.dtype)
