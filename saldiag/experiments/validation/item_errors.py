"""The loss of each single item, for intervals over items."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from saldiag.core.measurement import Array
from saldiag_probes.loss.compiled_loss import overrides_compute_loss, standalone_loss
from saldiag_probes.loss.recomputed_loss import without_attached_logits
from saldiag_probes.trace.execution import without_graph_optimizer

SAME = 0.5
"""Distance of the items' mean from the error of whole batches, as a share of the latter, up to
which they measure the same; weights and sums over a batch make some difference."""


class ItemErrors:
    """Computes the compiled loss item by item, unweighted and without regularisation."""

    def __init__(self, model: Any) -> None:
        loss = None if overrides_compute_loss(model) else standalone_loss(model)
        self._known = loss is not None

        def errors(y: Any, predictions: Any) -> Any:
            assert loss is not None

            def one(item: Any) -> Any:
                alone = keras.tree.map_structure(
                    lambda leaf: without_attached_logits(leaf[None]), item
                )
                return tf.cast(loss(*alone), tf.float32)

            return tf.map_fn(one, (y, predictions), fn_output_signature=tf.float32)

        self._errors = tf.function(errors, autograph=False, reduce_retracing=True)

    def __call__(
        self,
        batches: Sequence[tuple[Any, ...]],
        predictions: Sequence[Any],
        error: float | None = None,
    ) -> Array:
        """The error of each item of the batches (N,), float64.

        Empty where the model computes its loss by code of its own, there are no targets, or the
        loss does not take a single item: a loss that compares items has another mean than
        ``error``, that of whole batches, if it is given.
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
        errors = np.concatenate(found).astype(np.float64) if found else np.zeros(0)
        if error is None or not len(errors):
            return errors
        if abs(float(errors.mean()) - error) > SAME * abs(error):
            self._known = False
            return np.zeros(0)
        return errors
