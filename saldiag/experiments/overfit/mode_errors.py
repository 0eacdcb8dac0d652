"""A model's error on fixed batches in training and in inference mode; the model stays unchanged.

The two modes can disagree: BatchNorm normalises with batch statistics in one and with moving
averages in the other (Ioffe & Szegedy, ICML 2015), so measuring one mode alone misleads.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from saldiag.core.keras_types import KerasModel
from saldiag.core.measurement import LossCheck
from saldiag_probes.loss.compiled_loss import loss_name
from saldiag_probes.loss.recomputed_loss import aligned_and_shifted_losses, loss_comparison
from saldiag_probes.loss.repeatability import changing_loss, is_custom_loss
from saldiag_probes.loss.sensitivity import loss_sensitivity
from saldiag_probes.state.isolation import preserved_state
from saldiag_probes.trace.errors import CannotMeasure
from saldiag_probes.trace.execution import without_graph_optimizer
from saldiag_probes.trace.layer_facts import depends_on_mode

Batch = tuple[Any, ...]
"""``(x,)``, ``(x, y)`` or ``(x, y, sample_weight)``; each may be nested."""


@dataclass(frozen=True)
class BatchOutcome:
    """Predictions and losses of one batch in one mode."""

    predictions: Any
    """Numpy arrays (items, …) in the structure of the model's outputs."""
    reported: float
    """The loss as Keras reports it, with regularisation."""
    plain: float
    """The loss recomputed from the predictions alone, without regularisation."""
    penalty: float
    """The regularisation loss."""


class ModeErrors:
    """Predicts and measures the error in either mode, each traced once.

    Both modes share one trace if no layer depends on the mode. The error is the compiled loss,
    recomputed from plain predictions without regularisation: logits that Keras' activations attach
    to their outputs do not reach the loss.

    Args:
        model: a compiled, built Keras model.
        batches: the batches to measure on.
    """

    def __init__(self, model: KerasModel, batches: Sequence[Batch]) -> None:
        self.model = model
        self.batches = batches
        inference = self._trace_losses(training=False)
        training = self._trace_losses(training=True) if depends_on_mode(model) else inference
        self._forward = {True: training, False: inference}

    def on_batches(self, batches: Sequence[Batch]) -> ModeErrors:
        """A copy for other batches; nothing is traced again where shapes agree."""
        other = copy(self)
        other.batches = batches
        return other

    def _trace_losses(self, training: bool) -> Any:
        losses = loss_comparison(self.model, training)
        return tf.function(losses, autograph=False, jit_compile=False, reduce_retracing=True)

    def batch_outcomes(self, training: bool) -> list[BatchOutcome]:
        """The outcome of each batch; the model is left unchanged."""
        with preserved_state(self.model), without_graph_optimizer():
            return [self._batch_outcome(training, batch) for batch in self.batches]

    def _batch_outcome(self, training: bool, batch: Batch) -> BatchOutcome:
        predictions, *losses = self._forward[training](*_unpack_batch(batch))
        numpy = keras.tree.map_structure(np.asarray, predictions)
        return BatchOutcome(numpy, *(float(loss) for loss in losses))

    def repeat_predictions(self, batch: Batch, times: int = 2) -> list[Any]:
        """Predictions of several inference passes; random states advance from pass to pass."""
        with preserved_state(self.model), without_graph_optimizer():
            return [self._batch_outcome(False, batch).predictions for _ in range(times)]

    def predict(self, training: bool) -> list[Any]:
        """Predictions for each batch as numpy arrays; the model is left unchanged."""
        return [outcome.predictions for outcome in self.batch_outcomes(training)]

    def error(self, training: bool) -> float:
        """The error over all batches, weighted by their sizes; the model is left unchanged."""
        return mean_error(self.batch_outcomes(training), self.batches)

    def update_statistics(self, batch: Batch) -> None:
        """Run one forward pass in training mode and keep its changes (BatchNorm's averages)."""
        with without_graph_optimizer():
            self._forward[True](*_unpack_batch(batch))

    @cached_property
    def changing_loss(self) -> str | None:
        """What shows that the loss depends on its own state; None if nothing does.

        The errors mean nothing then: each depends on how often the loss was called before.
        """
        if not is_custom_loss(self.model):
            return None
        outcome = self.on_batches(self.batches[:1]).batch_outcomes(training=False)[0]
        return changing_loss(self.model, self.batches[0], outcome.predictions)

    def loss_check(self) -> LossCheck:
        """Compare the reported loss of the first batch with the one recomputed from predictions.

        Raises:
            CannotMeasure: the loss depends on its own state.
        """
        if self.changing_loss is not None:
            raise CannotMeasure(self.changing_loss)
        inference, training = (
            self.batch_outcomes(training=False)[0],
            self.batch_outcomes(training=True)[0],
        )
        order = aligned_and_shifted_losses(self.model, self.batches[0], inference.predictions)
        return LossCheck(
            loss=loss_name(self.model),
            reported=inference.reported,
            recomputed=inference.plain,
            regularization=inference.penalty,
            reported_training=training.reported,
            recomputed_training=training.plain,
            in_order=order[0],
            rolled=order[1],
            **loss_sensitivity(self.model, self.batches[0], inference.predictions),
        )


def mean_error(outcomes: Sequence[BatchOutcome], batches: Sequence[Batch]) -> float:
    """The plain loss over all batches, weighted by their sizes."""
    losses = [outcome.plain for outcome in outcomes]
    return float(np.average(losses, weights=[batch_size(batch) for batch in batches]))


def _unpack_batch(batch: Batch) -> tuple[Any, Any, Any]:
    three: tuple[Any, Any, Any] = keras.utils.unpack_x_y_sample_weight(batch)
    return three


def batch_size(batch: Batch) -> int:
    """Number of samples in a batch."""
    return int(keras.tree.flatten(batch[0])[0].shape[0])


def sample_variation(predictions: Sequence[Any]) -> float:
    """Standard deviation across samples over the overall one, for the first output.

    0 where every sample has the same prediction, and for a constant output.
    """
    first = [np.asarray(keras.tree.flatten(p)[0], dtype=np.float64) for p in predictions]
    values = np.concatenate(first)
    overall = float(values.std())
    return float(values.std(axis=0).mean()) / overall if overall > 0 else 0.0
