"""A model's error on fixed batches in training and in inference mode, leaving no trace.

The two modes can tell opposite stories: BatchNorm normalises with the batch in one and with moving
averages in the other (Ioffe & Szegedy, ICML 2015), so a tool that looks at one mode is fooled.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from saldiag.core.measurement import LossCheck
from saldiag_probes.loss.compiled_loss import loss_name
from saldiag_probes.loss.recomputed_loss import aligned_and_shifted_losses, loss_comparison
from saldiag_probes.loss.sensitivity import loss_sensitivity
from saldiag_probes.state.isolation import preserved_state
from saldiag_probes.trace.execution import without_graph_optimizer
from saldiag_probes.trace.layer_facts import depends_on_mode

Batch = tuple[Any, ...]
"""``(x,)``, ``(x, y)`` or ``(x, y, sample_weight)``; each may be nested."""


@dataclass(frozen=True)
class Outcome:
    """One batch in one mode: predictions, the loss as Keras reports it, and the plain loss.

    ``plain`` is the loss recomputed from the predictions alone, less ``penalty``, the
    regularisation.
    """

    predictions: Any
    reported: float
    plain: float
    penalty: float


class ModeErrors:
    """Predicts and measures the error in either mode; each is traced once, or both if they agree.

    The error is the model's own loss, recomputed from plain predictions without regularisation:
    what activations leave on their outputs for the loss cannot reach it.
    """

    def __init__(self, model: Any, batches: Sequence[Batch]) -> None:
        self.model = model
        self.batches = batches
        inference = self._function(training=False)
        training = self._function(training=True) if depends_on_mode(model) else inference
        self._forward = {True: training, False: inference}

    def on(self, batches: Sequence[Batch]) -> ModeErrors:
        """The same on other batches, without tracing again where shapes agree."""
        other = copy(self)
        other.batches = batches
        return other

    def _function(self, training: bool) -> Any:
        losses = loss_comparison(self.model, training)
        return tf.function(losses, autograph=False, jit_compile=False, reduce_retracing=True)

    def outcomes(self, training: bool) -> list[Outcome]:
        """What each batch gives; the model is left as it was."""
        with preserved_state(self.model), without_graph_optimizer():
            return [self._outcome(training, batch) for batch in self.batches]

    def _outcome(self, training: bool, batch: Batch) -> Outcome:
        predictions, *losses = self._forward[training](*_three(batch))
        numpy = keras.tree.map_structure(np.asarray, predictions)
        return Outcome(numpy, *(float(loss) for loss in losses))

    def repeated(self, batch: Batch, times: int = 2) -> list[Any]:
        """Predictions of inference passes in a row; random draws go on between them."""
        with preserved_state(self.model), without_graph_optimizer():
            return [self._outcome(False, batch).predictions for _ in range(times)]

    def predict(self, training: bool) -> list[Any]:
        """Predictions of each batch, as numpy arrays; the model is left as it was."""
        return [outcome.predictions for outcome in self.outcomes(training)]

    def error(self, training: bool) -> float:
        """The error over all batches, weighted by their sizes; the model is left as it was."""
        return mean_error(self.outcomes(training), self.batches)

    def update_statistics(self, batch: Batch) -> None:
        """One forward pass in training mode that keeps what it changes (BatchNorm's averages)."""
        with without_graph_optimizer():
            self._forward[True](*_three(batch))

    def loss_check(self) -> LossCheck:
        """The reported loss of the first batch against the one recomputed from predictions."""
        inference, training = self.outcomes(training=False)[0], self.outcomes(training=True)[0]
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


def mean_error(outcomes: Sequence[Outcome], batches: Sequence[Batch]) -> float:
    """The error over all batches, weighted by their sizes."""
    losses = [outcome.plain for outcome in outcomes]
    return float(np.average(losses, weights=[batch_size(batch) for batch in batches]))


def _three(batch: Batch) -> tuple[Any, Any, Any]:
    three: tuple[Any, Any, Any] = keras.utils.unpack_x_y_sample_weight(batch)
    return three


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
