"""The learning rate range test: at which rate does the loss fall fastest?

One pass over the same few batches at each rate, from very small to very large ones, without
resetting the weights (Smith, Cyclical Learning Rates for Training Neural Networks, WACV 2017,
section 3.3).
"""

from __future__ import annotations

import math
import time
from typing import Any

import keras
import numpy as np

from saldiag.core.measurement import RangeTest
from saldiag.experiments.overfit.mode_errors import ModeErrors
from saldiag.experiments.overfit.overfit_test import repeated_dataset
from saldiag.keras_internals.optimizers import learning_rate_setting
from saldiag.rules.shared.update_ratios import INVARIANT
from saldiag_probes.state.isolation import preserved_state
from saldiag_probes.state.optimizers import inner_optimizer
from saldiag_probes.trace.errors import CannotMeasure
from saldiag_probes.trace.execution import without_graph_optimizer

LOWEST_RATE, HIGHEST_RATE, RATES_PER_DECADE = 1e-6, 1.0, 4
"""Range of the learning rates, and rates per factor of 10."""
HIGHEST_ADAM_RATE = 0.1
"""Highest rate for Adam and its variants, which change every weight by about the rate itself,
whatever the gradient (Kingma and Ba, 2015, section 2.1): a larger step exceeds initial weights."""
DIVERGENCE_FACTOR = 4.0
"""Loss over the lowest loss so far at which the test stops, as fastai's does."""


def range_test(errors: ModeErrors, budget_seconds: float = math.inf) -> RangeTest:
    """Raise the rate of the model's own optimizer; model and optimizer are left unchanged.

    Args:
        errors: the compiled model and the batches.
        budget_seconds: seconds after which no further rate is tried.

    Returns:
        The finished rates, ascending, each with the mean loss of its pass.

    Raises:
        CannotMeasure: the rate follows a schedule, or not one pass was finished in time.
    """
    model = errors.model
    optimizer = inner_optimizer(model.optimizer)
    setting = learning_rate_setting(optimizer)
    if isinstance(setting, keras.optimizers.schedules.LearningRateSchedule):
        raise CannotMeasure("the learning rate follows a schedule and cannot be set")
    highest = HIGHEST_ADAM_RATE if type(optimizer).__name__ in INVARIANT else HIGHEST_RATE
    decades = math.log10(highest / LOWEST_RATE)
    rates = np.geomspace(LOWEST_RATE, highest, round(decades * RATES_PER_DECADE) + 1)
    ramp = _RateRamp(optimizer, rates, len(errors.batches), time.monotonic() + budget_seconds)
    with preserved_state(model), without_graph_optimizer():
        model.fit(
            repeated_dataset(errors.batches),
            epochs=1,
            steps_per_epoch=len(rates) * len(errors.batches),
            shuffle=False,
            verbose=0,
            callbacks=[ramp],
        )
    if not ramp.passes:
        raise CannotMeasure(f"no pass over the samples was finished within {budget_seconds:.3g} s")
    return RangeTest(rates=rates[: len(ramp.passes)], loss=np.array(ramp.passes))


class _RateRamp(keras.callbacks.Callback):
    """Sets the rate of each pass, records its mean loss, and stops when the loss diverges."""

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
        if self._has_diverged() or time.monotonic() > self._deadline:
            self.model.stop_training = True

    def _has_diverged(self) -> bool:
        last, lowest = self.passes[-1], min(self.passes)
        return not math.isfinite(last) or (lowest > 0 and last > DIVERGENCE_FACTOR * lowest)
