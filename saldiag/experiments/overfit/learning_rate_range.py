"""The learning rate range test: at which rate does the loss fall fastest?

One pass over the same few batches at each rate, from very small to very large ones, without
starting anew (Smith, Cyclical Learning Rates for Training Neural Networks, WACV 2017, section 3.3).
"""

from __future__ import annotations

import math
import time
from typing import Any

import keras
import numpy as np

from saldiag.core.measurement import RangeTest
from saldiag.experiments.overfit.mode_errors import ModeErrors
from saldiag.experiments.overfit.overfit_test import repeated
from saldiag.keras_internals.optimizers import learning_rate_setting
from saldiag.rules.shared.update_ratios import INVARIANT
from saldiag_probes.state.isolation import undisturbed
from saldiag_probes.state.optimizers import inner
from saldiag_probes.trace.execution import graph_as_built
from saldiag_probes.trace.recorder import CannotMeasure

LOWEST, HIGHEST, PER_DECADE = 1e-6, 1.0, 4
HIGHEST_OF_ADAM = 0.1
"""Adam and its like move every weight by about the rate itself, whatever the gradient (Kingma and
Ba, 2015, section 2.1); more than this is as large as the weights are at their start."""
GONE = 4.0
"""Times the lowest loss so far, at which a loss has left for good (fastai stops its own there)."""


def range_test(errors: ModeErrors, budget_seconds: float = math.inf) -> RangeTest:
    """Raise the rate of the model's own optimizer; model and optimizer are left as they were.

    Args:
        errors: the compiled model and the batches.
        budget_seconds: after which no other rate is tried.

    Raises:
        CannotMeasure: the rate follows a schedule and cannot be set, or no rate was finished.
    """
    model = errors.model
    optimizer = inner(model.optimizer)
    setting = learning_rate_setting(optimizer)
    if isinstance(setting, keras.optimizers.schedules.LearningRateSchedule):
        raise CannotMeasure("the learning rate follows a schedule, which cannot be set aside")
    highest = HIGHEST_OF_ADAM if type(optimizer).__name__ in INVARIANT else HIGHEST
    decades = math.log10(highest / LOWEST)
    rates = np.geomspace(LOWEST, highest, round(decades * PER_DECADE) + 1)
    raising = _Raising(optimizer, rates, len(errors.batches), time.monotonic() + budget_seconds)
    with undisturbed(model), graph_as_built():
        model.fit(
            repeated(errors.batches),
            epochs=1,
            steps_per_epoch=len(rates) * len(errors.batches),
            shuffle=False,
            verbose=0,
            callbacks=[raising],
        )
    if not raising.passes:
        raise CannotMeasure("no pass over the items was finished in time")
    return RangeTest(rates=rates[: len(raising.passes)], loss=np.array(raising.passes))


class _Raising(keras.callbacks.Callback):
    """Sets the rate of each pass, notes its mean loss, and ends where the loss has left."""

    def __init__(self, optimizer: Any, rates: Any, batches: int, deadline: float) -> None:
        super().__init__()
        self.passes: list[float] = []
        self._optimizer, self._rates, self._batches = optimizer, rates, batches
        self._deadline = deadline
        self._losses: list[float] = []

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
        self.model.reset_metrics()
        self._optimizer.learning_rate = self._rates[batch // self._batches]

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
        self._losses.append(float((logs or {}).get("loss", math.nan)))
        if len(self._losses) < self._batches:
            return
        self.passes.append(float(np.mean(self._losses)))
        self._losses = []
        if self._gone() or time.monotonic() > self._deadline:
            self.model.stop_training = True

    def _gone(self) -> bool:
        last, lowest = self.passes[-1], min(self.passes)
        return not math.isfinite(last) or (lowest > 0 and last > GONE * lowest)
