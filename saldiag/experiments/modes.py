"""A model's error on fixed batches in training and in inference mode, leaving no trace.

The two modes can tell opposite stories: BatchNorm normalises with the batch in one and with moving
averages in the other (Ioffe & Szegedy, ICML 2015), so a tool that looks at one mode is fooled.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from saldiag_probes.loss_check import plain_loss
from saldiag_probes.undisturbed import undisturbed

Batch = tuple[Any, ...]
"""``(x, y)`` or ``(x, y, sample_weight)``; each may be nested."""


class ModeErrors:
    """Predicts and measures the error in either mode; each mode is traced once.

    The error is the model's own loss, recomputed from plain predictions without regularisation:
    what activations leave on their outputs for the loss cannot reach it.
    """

    def __init__(self, model: Any, batches: Sequence[Batch]) -> None:
        self.model = model
        self.batches = batches
        self._forward = {training: self._function(training) for training in (True, False)}

    def _function(self, training: bool) -> Any:
        model = self.model
        keywords = {"training": training} if model._call_has_training_arg else {}

        @tf.function(jit_compile=False, reduce_retracing=True)
        def forward(x: Any) -> Any:
            return model(x, **keywords)

        return forward

    def predict(self, training: bool) -> list[Any]:
        """Predictions of each batch, as numpy arrays; the model is left as it was."""
        with undisturbed(self.model):
            return [self._numpy(self._forward[training](batch[0])) for batch in self.batches]

    def update_statistics(self, batch: Batch) -> None:
        """One forward pass in training mode that keeps what it changes (BatchNorm's averages)."""
        self._forward[True](batch[0])

    @staticmethod
    def _numpy(outputs: Any) -> Any:
        return keras.tree.map_structure(np.asarray, outputs)

    def error(self, training: bool) -> float:
        """The error over all batches, weighted by their sizes."""
        return self.error_of(self.predict(training))

    def error_of(self, predictions: Sequence[Any]) -> float:
        """The error of given predictions, one entry for each batch."""
        losses = [
            plain_loss(self.model, batch, prediction)
            for batch, prediction in zip(self.batches, predictions, strict=True)
        ]
        sizes = [batch_size(batch) for batch in self.batches]
        return float(np.average(losses, weights=sizes))


def batch_size(batch: Batch) -> int:
    """Number of samples in a batch."""
    return int(keras.tree.flatten(batch[0])[0].shape[0])


def sample_variation(predictions: Sequence[Any]) -> float:
    """Standard deviation across samples over the overall one; 0 where every sample gets the same.

    A constant output has no deviation at all, which is 0 too.
    """
    first = [np.asarray(keras.tree.flatten(p)[0], dtype=np.float64) for p in predictions]
    values = np.concatenate(first)
    overall = float(values.std())
    return float(values.std(axis=0).mean()) / overall if overall > 0 else 0.0
