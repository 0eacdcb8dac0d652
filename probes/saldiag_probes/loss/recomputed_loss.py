"""The loss as Keras reports it, compared with the same loss of the predictions that a user sees.

softmax and sigmoid leave their input on the output tensor, and Keras' cross-entropies use it. A
head whose output is constant (softmax over one channel) can therefore train and evaluate as if it
were a sigmoid, and only the recomputed loss shows the difference. The recomputation passes the
predictions to the loss through an identity, which carries no logits and has no softmax as its
operation. A mask that Keras left on the predictions is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from saldiag.core.keras_types import BatchLike, KerasModel, Tensor, TensorTree
from saldiag.core.measurement import LossCheck
from saldiag.keras_internals.compilation import loss_method
from saldiag.keras_internals.graphs import mask_of, set_mask
from saldiag.keras_internals.layers import takes_training_argument
from saldiag_probes.loss.compiled_loss import loss_name, overrides_compute_loss
from saldiag_probes.state.isolation import preserved_state
from saldiag_probes.trace.batch import Batch, as_batch, build_model
from saldiag_probes.trace.errors import CannotMeasure, error_summary
from saldiag_probes.trace.execution import without_graph_optimizer


def measure_loss_check(model: KerasModel, batch: BatchLike, y_pred: TensorTree = None) -> LossCheck:
    """Compare the reported loss of one batch with the one recomputed from its predictions.

    Args:
        model: a compiled model.
        batch: ``(x, y)`` or ``(x, y, sample_weight)``.
        y_pred: the model's predictions for ``x`` if they are known (from ``predict``); used in
            place of those of the inference pass.

    Raises:
        CannotMeasure: the model cannot be called, is not compiled with a loss, or the loss cannot
            be computed for this batch.
    """
    if not getattr(model, "compiled", False):
        raise CannotMeasure("the model is not compiled")
    data = as_batch(batch)
    build_model(model, data)
    try:
        with preserved_state(model), without_graph_optimizer():
            inference = _reported_and_recomputed(
                model, data, training=False, given=as_batch((y_pred,)).x
            )
        with preserved_state(model), without_graph_optimizer():
            training = _reported_and_recomputed(model, data, training=True, given=None)
    except Exception as error:
        raise CannotMeasure(f"the loss cannot be computed: {error_summary(error)}") from error
    return LossCheck(
        loss=loss_name(model),
        reported=inference[0],
        recomputed=inference[1],
        regularization=inference[2],
        reported_training=training[0],
        recomputed_training=training[1],
    )


def _reported_and_recomputed(
    model: KerasModel, data: Batch, *, training: bool, given: Any
) -> tuple[float, float, float]:
    """Reported loss, recomputed loss without regularisation, and regularisation."""
    function = tf.function(loss_comparison(model, training), autograph=False, jit_compile=False)
    _, *losses = function(data.x, data.y, data.sample_weight, given)
    reported, recomputed, extra = (float(loss) for loss in losses)
    return reported, recomputed, extra


def loss_comparison(model: KerasModel, training: bool) -> Callable[..., tuple[Any, Any, Any, Any]]:
    """A function of ``(x, y, sample_weight, stand_in=None)``, to be traced by ``tf.function``.

    It returns the predictions, the loss as Keras reports it, the loss of the plain predictions (or
    of ``stand_in``) without regularisation, and the regularisation.
    """
    keywords = {"training": training} if takes_training_argument(model) else {}

    def losses(
        x: TensorTree, y: TensorTree, sample_weight: TensorTree, stand_in: Any = None
    ) -> tuple[Any, ...]:
        def loss_of(predictions: TensorTree) -> Any:
            return loss_method(model)(
                x=x, y=y, y_pred=predictions, sample_weight=sample_weight, training=training
            )

        y_pred = model(x, **keywords)
        extra = regularization_loss(model)
        plain = keras.tree.map_structure(
            without_attached_logits, y_pred if stand_in is None else stand_in
        )
        return y_pred, loss_of(y_pred), loss_of(plain) - extra, extra

    return losses


def aligned_and_shifted_losses(
    model: KerasModel, batch: BatchLike, y_pred: TensorTree
) -> tuple[float, float]:
    """The loss of plain predictions, and the same with each target moved to the next sample.

    If the target broadcasts against the predictions, (n,) against (n, 1), each sample is compared
    with all targets, and the two are equal. Both are nan if targets and predictions are several
    tensors or of the same rank, or if the loss cannot be computed.

    Args:
        model: a compiled model.
        batch: ``(x, y)``.
        y_pred: the predictions for ``x``.
    """
    data = as_batch(batch)
    single_tensors = isinstance(data.y, tf.Tensor) and not isinstance(y_pred, (dict, list, tuple))
    if not single_tensors or len(data.y.shape) == len(y_pred.shape):
        return float("nan"), float("nan")
    try:
        with preserved_state(model), without_graph_optimizer():
            first, second = (
                loss_method(model)(
                    x=data.x, y=y, y_pred=tf.constant(y_pred), sample_weight=None, training=False
                )
                for y in (data.y, tf.roll(data.y, 1, axis=0))
            )
            return float(first), float(second)
    except Exception:  # raised by a custom loss
        return float("nan"), float("nan")


def without_attached_logits(tensor: Tensor) -> Tensor:
    """A copy of a tensor without the logits that an activation left on it; its mask stays."""
    copy = tf.identity(tensor)
    mask = mask_of(tensor)
    if mask is not None:
        set_mask(copy, mask)
    return copy


def regularization_loss(model: KerasModel) -> Tensor:
    """Sum of the model's losses as float32; 0 if the model overrides ``compute_loss``."""
    if overrides_compute_loss(model) or not model.losses:
        return tf.zeros([])
    return tf.add_n([tf.cast(tf.reduce_sum(loss), tf.float32) for loss in model.losses])
