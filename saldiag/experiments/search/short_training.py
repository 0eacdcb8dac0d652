"""One training from one start: scored now and then, ended as soon as its outcome is certain."""

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
from saldiag.experiments.search.score import Score, score
from saldiag.keras_internals.layers import takes_training_argument
from saldiag.keras_internals.optimizers import learning_rate_setting
from saldiag.rules.verdicts.hypotheses import LIMITS
from saldiag_probes.state.isolation import undisturbed
from saldiag_probes.state.optimizers import inner
from saldiag_probes.trace.execution import graph_as_built

MEMORISED = LIMITS["memorised"]
STILL = 1e-6
"""Share of an item's variation by which its prediction moves where nothing moves: rounding."""
LEARNT = 0.5
"""Score from which on it is worth to look at inference, too."""


class Forward:
    """A model's predictions in either mode, each traced once; the model is left as it was."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._traced = {training: self._function(training) for training in (True, False)}

    def _function(self, training: bool) -> Any:
        model = self._model
        keywords = {"training": training} if takes_training_argument(model) else {}
        return tf.function(
            lambda x: model(x, **keywords),
            autograph=False,
            jit_compile=False,
            reduce_retracing=True,
        )

    def predict(self, batches: Batches, training: bool) -> list[Any]:
        """Of each batch, as numpy arrays."""
        with undisturbed(self._model), graph_as_built():
            found = [self._traced[training](batch[0]) for batch in batches]
        return [keras.tree.map_structure(np.asarray, each) for each in found]


@dataclass
class Training:
    """A training of ``steps`` on the batches in turn, by the model's own training step.

    ``model.train_function`` is used where it is set, and made where it is not. Without ``fit``:
    that would build a pipeline and callbacks for each of hundreds of short trainings.
    ``keeps_failing``: an error of the training is an outcome, not raised.
    """

    model: Any
    forward: Forward
    batches: Batches
    steps: int
    seed: int
    mode: Mode = "training"
    deadline: float = math.inf
    tell: Callable[[int], None] = lambda _: None
    keeps_failing: bool = False
    _stopped: Stopped = "steps"
    _scores: dict[int, Score] = field(default_factory=dict)

    def run(self) -> Curve:
        """Train and score.

        Raises:
            CannotScore: targets and predictions cannot be compared.
        """
        self._look(0)
        try:
            done = self._trained()
        except Exception as error:
            done = 0
            # What Keras' optimizers raise where every gradient is None.
            if "No gradients provided" in str(error):
                self._stopped = "nothing moves"
            elif self.keeps_failing:
                self._stopped = "fails"
            else:
                raise
        if done not in self._scores:
            self._look(done)
        return self._curve()

    def _trained(self) -> int:
        """Take steps until the outcome is certain; returns how many."""
        self.model.make_train_function()
        self.model.reset_metrics()
        step = self.model.train_function
        fed = [keras.tree.map_structure(_tensor, batch) for batch in self.batches]
        looks = {2, len(fed), *range(0, self.steps, max(5, self.steps // 8)), self.steps}
        for done in range(1, self.steps + 1):
            logs = step([fed[(done - 1) % len(fed)]] * self.model.steps_per_execution)
            self._judge(done, logs, done in looks)
            if self._stopped != "steps":
                return done
        return self.steps

    def _judge(self, done: int, logs: Any, look: bool) -> None:
        if not math.isfinite(float((logs or {}).get("loss", 0.0))):
            self._stopped = "non-finite"
        elif look:
            self.tell(done)
            now = self._look(done)
            if now.value >= MEMORISED:
                self._stopped = "memorised"
            elif self._stands_still(done, now):
                self._stopped = "nothing moves"
        if time.monotonic() > self.deadline and self._stopped == "steps":
            self._stopped = "budget"

    def _stands_still(self, done: int, now: Score) -> bool:
        """Whether a pass over all batches, at a rate that is not to change, left all as it was.

        Twenty times as many steps do not come to anything then, for a step is never more than
        about ten times as long as the first one (by momentum). The largest difference is taken,
        so that noise (dropout, augmentation) is no standing still.
        """
        begun = self._scores[0].missed
        rate = learning_rate_setting(inner(self.model.optimizer))
        fixed = not isinstance(rate, keras.optimizers.schedules.LearningRateSchedule)
        whole = done >= len(self.batches)
        return fixed and whole and bool(np.abs(now.missed - begun).max() <= STILL)

    def _look(self, done: int) -> Score:
        found = self._scored(training=True)
        self._scores[done] = found
        return found

    def _scored(self, training: bool) -> Score:
        return score(self.model, self.batches, self.forward.predict(self.batches, training))

    def _curve(self) -> Curve:
        steps = tuple(sorted(self._scores))
        last = self._scores[steps[-1]]
        told = Curve(
            seed=self.seed,
            steps=steps,
            score=tuple(self._scores[step].value for step in steps),
            error=tuple(self._scores[step].error for step in steps),
            missed=_plain(last.missed),
            stopped=self._stopped,
        )
        if self.mode != "inference" and not last.value >= LEARNT:
            return told
        inference = self._scored(training=False)
        return replace(
            told, inference_score=inference.value, inference_missed=_plain(inference.missed)
        )


def _plain(values: Array) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _tensor(part: Any) -> Any:
    return None if part is None else tf.convert_to_tensor(part)
