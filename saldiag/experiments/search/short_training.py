"""One short training: scored at intervals, ended as soon as its outcome is clear."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from saldiag.core.measurement import Array, Curve
from saldiag.core.measurement.experiments import Mode, Stopped
from saldiag.experiments.interventions.change import Batches
from saldiag.experiments.search.score import Score, score_predictions
from saldiag.keras_internals.layers import takes_training_argument
from saldiag.keras_internals.optimizers import learning_rate_setting
from saldiag.rules.verdicts.hypotheses import LIMITS
from saldiag_probes.state.isolation import preserved_state
from saldiag_probes.state.optimizers import inner_optimizer
from saldiag_probes.trace.execution import without_graph_optimizer

MEMORISED_SCORE = LIMITS["memorised"]
"""Score at which a training ends as ``memorised``."""
MAX_STUCK_CHANGE = 1e-6
"""Largest change of an item's ``missed`` that counts as rounding: the model has not moved."""
MIN_SCORE_FOR_INFERENCE = 0.5
"""Training-mode score from which on inference mode is scored as well."""


class TracedForward:
    """Predicts in training or inference mode, each traced once; the model is left unchanged."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._traced = {training: self._trace_forward(training) for training in (True, False)}

    def _trace_forward(self, training: bool) -> Any:
        model = self._model
        keywords = {"training": training} if takes_training_argument(model) else {}
        return tf.function(
            lambda x: model(x, **keywords),
            autograph=False,
            jit_compile=False,
            reduce_retracing=True,
        )

    def predict(self, batches: Batches, training: bool) -> list[Any]:
        """The predictions for each batch, as numpy arrays in the structure of the outputs."""
        with preserved_state(self._model), without_graph_optimizer():
            predictions = [self._traced[training](batch[0]) for batch in batches]
        return [keras.tree.map_structure(np.asarray, each) for each in predictions]


@dataclass
class ShortTraining:
    """Trains on the batches repeatedly with the model's own training step.

    ``model.train_function`` is used if it is set, otherwise it is made. ``fit`` is not called: it
    would build an input pipeline and callbacks for each of hundreds of short trainings.
    """

    model: Any
    """The compiled model, in its initial state; it is trained in place."""
    forward: TracedForward
    """Predicts for the scores."""
    batches: Batches
    """The batches to train on and to score."""
    steps: int
    """Most training steps."""
    seed: int
    """Seed of the initial state, for the curve."""
    mode: Mode = "training"
    """The mode in which learning has to be restored; ``inference`` is then always scored."""
    deadline: float = math.inf
    """When to stop, in seconds of ``time.monotonic``."""
    on_scored: Callable[[int], None] = lambda _: None
    """Called with the number of steps whenever the model is scored."""
    failure_is_outcome: bool = False
    """Whether an error in the training step ends the curve as ``fails`` instead of being raised."""
    _stopped: Stopped = "steps"
    _scores: dict[int, Score] = field(default_factory=dict)

    def run(self) -> Curve:
        """Train, score at intervals, and return the curve.

        Raises:
            CannotScore: targets and predictions cannot be compared.
        """
        self._score_step(0)
        try:
            done = self._take_steps()
        except Exception as error:
            done = 0
            # What Keras' optimizers raise where every gradient is None.
            if "No gradients provided" in str(error):
                self._stopped = "nothing moves"
            elif self.failure_is_outcome:
                self._stopped = "fails"
            else:
                raise
        if done not in self._scores:
            self._score_step(done)
        return self._build_curve()

    def _take_steps(self) -> int:
        """Take steps until the outcome is clear; returns their number."""
        self.model.make_train_function()
        self.model.reset_metrics()
        step = self.model.train_function
        tensors = [keras.tree.map_structure(_as_tensor, batch) for batch in self.batches]
        # About eight scores over the training, and early ones to stop where nothing moves.
        scored_steps = {2, len(tensors), *range(0, self.steps, max(5, self.steps // 8)), self.steps}
        for done in range(1, self.steps + 1):
            # Keras takes ``steps_per_execution`` batches from anything but a ``tf.data.Iterator``.
            logs = step([tensors[(done - 1) % len(tensors)]] * self.model.steps_per_execution)
            self._update_stopped(done, logs, done in scored_steps)
            if self._stopped != "steps":
                return done
        return self.steps

    def _update_stopped(self, done: int, logs: Any, is_scored: bool) -> None:
        """Note why training stops after this step, if it does."""
        if not math.isfinite(float((logs or {}).get("loss", 0.0))):
            self._stopped = "non-finite"
        elif is_scored:
            self.on_scored(done)
            now = self._score_step(done)
            if now.value >= MEMORISED_SCORE:
                self._stopped = "memorised"
            elif self._is_stuck(done, now):
                self._stopped = "nothing moves"
        if time.monotonic() > self.deadline and self._stopped == "steps":
            self._stopped = "budget"

    def _is_stuck(self, done: int, now: Score) -> bool:
        """Whether a pass over all batches at a constant rate has changed no prediction.

        Then twenty times as many steps change nothing either: momentum makes a step at most about
        ten times as long as the first one. The largest change over the items counts, and with
        noise (dropout, augmentation) predictions always change.
        """
        begun = self._scores[0].missed
        rate = learning_rate_setting(inner_optimizer(self.model.optimizer))
        fixed = not isinstance(rate, keras.optimizers.schedules.LearningRateSchedule)
        whole = done >= len(self.batches)
        return fixed and whole and bool(np.abs(now.missed - begun).max() <= MAX_STUCK_CHANGE)

    def _score_step(self, done: int) -> Score:
        found = self._score_mode(training=True)
        self._scores[done] = found
        return found

    def _score_mode(self, training: bool) -> Score:
        return score_predictions(
            self.model, self.batches, self.forward.predict(self.batches, training)
        )

    def _build_curve(self) -> Curve:
        steps = tuple(sorted(self._scores))
        last = self._scores[steps[-1]]
        curve = Curve(
            seed=self.seed,
            steps=steps,
            score=tuple(self._scores[step].value for step in steps),
            error=tuple(self._scores[step].error for step in steps),
            missed=_as_floats(last.missed),
            stopped=self._stopped,
        )
        if self.mode != "inference" and not last.value >= MIN_SCORE_FOR_INFERENCE:
            return curve
        inference = self._score_mode(training=False)
        return replace(
            curve, inference_score=inference.value, inference_missed=_as_floats(inference.missed)
        )


def _as_floats(values: Array) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _as_tensor(part: Any) -> Any:
    return None if part is None else tf.convert_to_tensor(part)
