"""The loss of each item, for confidence intervals over items."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from saldiag.core.keras_types import KerasModel
from saldiag.core.measurement import Array
from saldiag_probes.loss.compiled_loss import overrides_compute_loss, standalone_loss
from saldiag_probes.loss.recomputed_loss import without_attached_logits
from saldiag_probes.trace.execution import without_graph_optimizer

MAX_MEAN_DIFFERENCE = 0.5
"""Largest |mean over items - error of whole batches|, as a share of the latter, at which both
measure the same; sample weights and sums over a batch cause some difference."""


class ItemErrors:
    """Computes the compiled loss for each item, without sample weights and regularisation."""

    def __init__(self, model: KerasModel) -> None:
        loss = None if overrides_compute_loss(model) else standalone_loss(model)
        self._known = loss is not None

        def errors_by_item(y: Any, predictions: Any) -> Any:
            assert loss is not None

            def error_of_item(item: Any) -> Any:
                alone = keras.tree.map_structure(
                    lambda leaf: without_attached_logits(leaf[None]), item
                )
                return tf.cast(loss(*alone), tf.float32)

            return tf.map_fn(error_of_item, (y, predictions), fn_output_signature=tf.float32)

        self._errors = tf.function(errors_by_item, autograph=False, reduce_retracing=True)

    def __call__(
        self,
        batches: Sequence[tuple[Any, ...]],
        predictions: Sequence[Any],
        error: float | None = None,
    ) -> Array:
        """The error of each item, float64 (items,); empty if it cannot be computed.

        That is if the model overrides ``compute_loss``, there are no targets, or the loss needs
        more than one item.

        Args:
            batches: ``(x, y, …)`` each.
            predictions: the model's output for each batch.
            error: the error of whole batches. If the mean over the items is far from it, the loss
                compares items with each other and has no error per item.
        """
        if not self._known or any(len(b) < 2 or b[1] is None for b in batches):
            return np.zeros(0)
        try:
            with without_graph_optimizer():
                found = [
                    np.asarray(self._errors(batch[1], keras.tree.map_structure(tf.constant, p)))
                    for batch, p in zip(batches, predictions, strict=True)
                ]
        except Exception:  # the user's own loss may need more than one item
            self._known = False
            return np.zeros(0)
        errors_by_item = np.concatenate(found).astype(np.float64) if found else np.zeros(0)
        if error is None or not len(errors_by_item):
            return errors_by_item
        if abs(float(errors_by_item.mean()) - error) > MAX_MEAN_DIFFERENCE * abs(error):
            self._known = False
            return np.zeros(0)
        return errors_by_item
