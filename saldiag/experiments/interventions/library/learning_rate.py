"""Another learning rate."""

from __future__ import annotations

import math
from typing import ClassVar

import keras

from saldiag.core.measurement import RangeTest
from saldiag.experiments.interventions.base import Intervention, NotApplicable
from saldiag.experiments.interventions.change import Change
from saldiag.experiments.interventions.compile_changes import (
    current_learning_rate,
    rebuild_optimizer,
)
from saldiag.experiments.interventions.workbench import Workbench
from saldiag.experiments.overfit.learning_rate_range import range_test
from saldiag.experiments.overfit.mode_errors import ModeErrors
from saldiag.keras_internals.optimizers import learning_rate_setting
from saldiag.rules.shared.update_ratios import fastest_rate
from saldiag_probes.state.optimizers import inner_optimizer
from saldiag_probes.trace.errors import CannotMeasure


def change_rate(lab: Workbench, rate: float, description: str) -> Change:
    """Set another learning rate. The rate is a variable, so the step is not traced again.

    Raises:
        NotApplicable: the rate follows a schedule.
    """
    setting = learning_rate_setting(inner_optimizer(lab.model.optimizer))
    if isinstance(setting, keras.optimizers.schedules.LearningRateSchedule):
        raise NotApplicable("the learning rate follows a schedule")

    def assign_rate(seed: int) -> None:  # noqa: ARG001 - the same for every seed
        inner_optimizer(lab.model.optimizer).learning_rate = rate

    return Change(description, set_initial_state=assign_rate, needs_retracing=False)


class _MultipliedRate:
    """Multiplies the learning rate by ``factor``."""

    factor: ClassVar[float]

    def change(self, lab: Workbench) -> Change:
        rate = current_learning_rate(lab.model)
        other = rate * self.factor
        return change_rate(lab, other, f"a learning rate of {other:.3g} instead of {rate:.3g}")


class HigherRate(_MultipliedRate, Intervention):
    """Multiplies the learning rate by 10."""

    name = "higher-rate"
    states = "the learning rate is too low"
    answers: ClassVar[tuple[str, ...]] = ("SD702", "SD803")
    words: ClassVar[tuple[str, ...]] = ("rate", "lr", "slow")
    factor = 10.0


class LowerRate(_MultipliedRate, Intervention):
    """Divides the learning rate by 10."""

    name = "lower-rate"
    states = "the learning rate is too high"
    answers: ClassVar[tuple[str, ...]] = ("SD701", "SD203")
    words: ClassVar[tuple[str, ...]] = ("rate", "lr", "diverges", "explod")
    factor = 0.1


class BestRate(Intervention):
    """Trains at the rate at which the loss falls fastest in a range test (Smith, WACV 2017)."""

    name = "best-rate"
    states = "the learning rate is orders of magnitude away from where this model learns"
    answers: ClassVar[tuple[str, ...]] = ("SD701", "SD702", "SD803")
    words: ClassVar[tuple[str, ...]] = ("rate", "lr")

    def change(self, lab: Workbench) -> Change:
        errors = ModeErrors(lab.model, lab.batches)
        try:
            found: RangeTest = range_test(errors)
        except CannotMeasure as error:
            raise NotApplicable(str(error)) from error
        rate = _stable_rate(fastest_rate(found), found)
        if math.isnan(rate) or not found.loss.min() < 0.99 * found.loss[0]:
            raise NotApplicable(
                "the loss does not fall at any rate of the learning rate range test"
            )
        now = current_learning_rate(lab.model)
        if 1 / 3 < rate / now < 3:
            raise NotApplicable(
                f"the learning rate {now:.3g} is within a factor of 3 of {rate:.3g}, at which the"
                " loss falls fastest"
            )
        return change_rate(
            lab, rate, f"a learning rate of {rate:.3g} instead of {now:.3g} (from a range test)"
        )


def _stable_rate(rate: float, test: RangeTest) -> float:
    """The rate, or a tenth of it where the loss still falls at the upper end of the test.

    The test takes few steps at its highest rate and none above: whether training stays stable
    there is unknown.
    """
    still_falls = test.loss[-1] <= test.loss.min()
    return rate / 10 if still_falls and rate * 10 > test.rates[-1] * 1.01 else rate


SCHEDULE_STEPS = (0, *(10**power for power in range(6)))
"""Optimizer steps at which a schedule's rate is read."""
DEFAULT_RATE = 1e-3
"""Adam's default in Keras, for a schedule without a rate above 0."""


class ConstantRate(Intervention):
    """Trains at the schedule's highest rate throughout."""

    name = "constant-rate"
    states = "the learning rate schedule prevents learning"
    answers: ClassVar[tuple[str, ...]] = ("SD702", "SD706", "SD803")
    words: ClassVar[tuple[str, ...]] = ("schedule", "warm", "decay of the rate", "cyclic")

    def change(self, lab: Workbench) -> Change:
        schedule = learning_rate_setting(inner_optimizer(lab.model.optimizer))
        if isinstance(schedule, keras.Variable) or not callable(schedule):
            raise NotApplicable("the optimizer has no learning rate schedule")
        rates = [float(keras.ops.convert_to_numpy(schedule(step))) for step in SCHEDULE_STEPS]
        rate = max(rates) if max(rates) > 0 else DEFAULT_RATE
        fresh = rebuild_optimizer(lab.model.optimizer, learning_rate=rate)
        return Change(f"replacing the schedule by a constant rate of {rate:.3g}", optimizer=fresh)
