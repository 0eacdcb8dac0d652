"""The loss as Keras reports it, against the same loss of the predictions that a user would see.

softmax and sigmoid leave their input on the output tensor, and Keras' cross-entropies take it from
there. So a head whose output is a constant (softmax over one channel) can train and evaluate as if
it were a sigmoid, and only the recomputed loss tells. The recomputation hands the predictions to
the loss through an identity, which has neither logits left on it nor a softmax behind it; a mask
that Keras left on them is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from saldiag.core.measurement import LossCheck
from saldiag.keras_internals.compilation import loss_method
from saldiag.keras_internals.layers import takes_training_argument
from saldiag.keras_internals.tensors import mask_of, set_mask
from saldiag_probes.loss.compiled_loss import loss_name, overrides_compute_loss
from saldiag_probes.state.isolation import undisturbed
from saldiag_probes.trace.execution import graph_as_built
from saldiag_probes.trace.recorder import Batch, CannotMeasure, as_batch, build, explain


def measure_loss_check(model: Any, batch: Any, y_pred: Any = None) -> LossCheck:
    """Compare the reported loss of one batch with the one recomputed from its predictions.

    Args:
        model: a compiled model.
        batch: ``(x, y)`` or ``(x, y, sample_weight)``.
        y_pred: the model's predictions for ``x`` if they are at hand (from ``predict``); they
            stand in for those of the inference pass.

    Raises:
        CannotMeasure: the model cannot be called, is not compiled with a loss, or the loss
            cannot be computed for this batch.
    """
    if not getattr(model, "compiled", False):
        raise CannotMeasure("the model is not compiled")
    data = as_batch(batch)
    build(model, data)
    try:
        with undisturbed(model), graph_as_built():
            inference = _both(model, data, training=False, given=as_batch((y_pred,)).x)
        with undisturbed(model), graph_as_built():
            training = _both(model, data, training=True, given=None)
    except Exception as error:
        raise CannotMeasure(f"the loss cannot be computed: {explain(error)}") from error
    return LossCheck(
        loss=loss_name(model),
        reported=inference[0],
        recomputed=inference[1],
        regularization=inference[2],
        reported_training=training[0],
        recomputed_training=training[1],
    )


def _both(model: Any, data: Batch, *, training: bool, given: Any) -> tuple[float, float, float]:
    """Reported loss, recomputed loss less regularisation, and regularisation."""
    function = tf.function(losses_in(model, training), autograph=False, jit_compile=False)
    _, *losses = function(data.x, data.y, data.sample_weight, given)
    reported, recomputed, extra = (float(loss) for loss in losses)
    return reported, recomputed, extra


def losses_in(model: Any, training: bool) -> Callable[..., tuple[Any, Any, Any, Any]]:
    """A function of ``(x, y, sample_weight, stand_in=None)`` to be traced.

    It returns the predictions, the loss as Keras reports it, the loss of the plain predictions (or
    of ``stand_in``) less regularisation, and the regularisation.
    """
    keywords = {"training": training} if takes_training_argument(model) else {}

    def losses(x: Any, y: Any, sample_weight: Any, stand_in: Any = None) -> tuple[Any, ...]:
        def loss(predictions: Any) -> Any:
            return loss_method(model)(
                x=x, y=y, y_pred=predictions, sample_weight=sample_weight, training=training
            )

        y_pred = model(x, **keywords)
        extra = penalty(model)
        bare = keras.tree.map_structure(plain, y_pred if stand_in is None else stand_in)
        return y_pred, loss(y_pred), loss(bare) - extra, extra

    return losses


def in_order_and_rolled(model: Any, batch: Any, y_pred: Any) -> tuple[float, float]:
    """The loss of plain predictions, and the same with each sample's target moved to the next.

    Where the target's axes are set against the wrong ones of the predictions, (n,) against (n, 1),
    each sample is compared with all targets, and the two are equal. Both are nan where targets and
    predictions are several tensors or of the same rank, or where the loss cannot be computed.
    """
    data = as_batch(batch)
    alone = isinstance(data.y, tf.Tensor) and not isinstance(y_pred, (dict, list, tuple))
    if not alone or len(data.y.shape) == len(y_pred.shape):
        return float("nan"), float("nan")
    try:
        with undisturbed(model), graph_as_built():
            first, second = (
                loss_method(model)(
                    x=data.x, y=y, y_pred=tf.constant(y_pred), sample_weight=None, training=False
                )
                for y in (data.y, tf.roll(data.y, 1, axis=0))
            )
            return float(first), float(second)
    except Exception:  # the user's own loss
        return float("nan"), float("nan")


def plain(tensor: Any) -> Any:
    """A tensor without what an activation left on it for the loss; its mask stays."""
    copy = tf.identity(tensor)
    mask = mask_of(tensor)
    if mask is not None:
        set_mask(copy, mask)
    return copy


def penalty(model: Any) -> Any:
    """Regularisation; 0 where the model computes its loss by itself and it is not known."""
    if overrides_compute_loss(model) or not model.losses:
        return tf.zeros([])
    return tf.add_n([tf.cast(tf.reduce_sum(loss), tf.float32) for loss in model.losses])
