"""Another learning rate."""

from __future__ import annotations

import math
from typing import ClassVar

import keras

from saldiag.core.measurement import RangeTest
from saldiag.experiments.interventions.base import Intervention, NotApplicable
from saldiag.experiments.interventions.change import Change
from saldiag.experiments.interventions.compile_changes import rate_of, rebuilt
from saldiag.experiments.interventions.workbench import Workbench
from saldiag.experiments.overfit.learning_rate_range import range_test
from saldiag.experiments.overfit.mode_errors import ModeErrors
from saldiag.keras_internals.optimizers import learning_rate_setting
from saldiag.rules.shared.update_ratios import fastest_rate
from saldiag_probes.state.optimizers import inner
from saldiag_probes.trace.recorder import CannotMeasure


def at_rate(lab: Workbench, rate: float, told: str) -> Change:
    """The optimizer at another rate, which is a variable: nothing is traced anew.

    Raises:
        NotApplicable: the rate follows a schedule.
    """
    setting = learning_rate_setting(inner(lab.model.optimizer))
    if isinstance(setting, keras.optimizers.schedules.LearningRateSchedule):
        raise NotApplicable("the learning rate follows a schedule")

    def start(seed: int) -> None:  # noqa: ARG001 - the same for every seed
        inner(lab.model.optimizer).learning_rate = rate

    return Change(told, start=start, traced=False)


class _Times:
    """The rate times a factor."""

    factor: ClassVar[float]

    def change(self, lab: Workbench) -> Change:
        rate = rate_of(lab.model)
        other = rate * self.factor
        return at_rate(lab, other, f"a learning rate of {other:.3g} in place of {rate:.3g}")


class HigherRate(_Times, Intervention):
    """Trains at ten times the learning rate."""

    name = "higher-rate"
    states = "the learning rate is too low"
    answers: ClassVar[tuple[str, ...]] = ("SD702", "SD803")
    words: ClassVar[tuple[str, ...]] = ("rate", "lr", "slow")
    factor = 10.0


class LowerRate(_Times, Intervention):
    """Trains at a tenth of the learning rate."""

    name = "lower-rate"
    states = "the learning rate is too high"
    answers: ClassVar[tuple[str, ...]] = ("SD701", "SD203")
    words: ClassVar[tuple[str, ...]] = ("rate", "lr", "diverges", "explod")
    factor = 0.1


class BestRate(Intervention):
    """Trains at the rate at which a range test sees the loss fall fastest (Smith, WACV 2017)."""

    name = "best-rate"
    states = "the learning rate is decades away from where this model learns"
    answers: ClassVar[tuple[str, ...]] = ("SD701", "SD702", "SD803")
    words: ClassVar[tuple[str, ...]] = ("rate", "lr")

    def change(self, lab: Workbench) -> Change:
        errors = ModeErrors(lab.model, lab.batches)
        try:
            found: RangeTest = range_test(errors)
        except CannotMeasure as error:
            raise NotApplicable(str(error)) from error
        rate = _stable(fastest_rate(found), found)
        if math.isnan(rate) or not found.loss.min() < 0.99 * found.loss[0]:
            raise NotApplicable("at no rate does the loss fall")
        now = rate_of(lab.model)
        if 1 / 3 < rate / now < 3:
            raise NotApplicable(f"the learning rate {now:.3g} is where the loss falls fastest")
        return at_rate(
            lab, rate, f"a learning rate of {rate:.3g} in place of {now:.3g} (from a range test)"
        )


def _stable(rate: float, test: RangeTest) -> float:
    """A tenth of a rate at the upper end of the test, whose loss still fell there.

    Few steps were taken at it, and at none above: it is not known to be stable over more of them.
    """
    still_falls = test.loss[-1] <= test.loss.min()
    return rate / 10 if still_falls and rate * 10 > test.rates[-1] * 1.01 else rate


STEPS = (0, *(10**power for power in range(6)))
"""Of a schedule, at which its rate is asked."""
USUAL = 1e-3
"""Keras' default of Adam, where a schedule has no rate above 0."""


class ConstantRate(Intervention):
    """Trains at the schedule's highest rate throughout."""

    name = "constant-rate"
    states = "the schedule of the learning rate holds learning up"
    answers: ClassVar[tuple[str, ...]] = ("SD702", "SD706", "SD803")
    words: ClassVar[tuple[str, ...]] = ("schedule", "warm", "decay of the rate", "cyclic")

    def change(self, lab: Workbench) -> Change:
        schedule = learning_rate_setting(inner(lab.model.optimizer))
        if isinstance(schedule, keras.Variable) or not callable(schedule):
            raise NotApplicable("the learning rate follows no schedule of the optimizer's")
        rates = [float(keras.ops.convert_to_numpy(schedule(step))) for step in STEPS]
        rate = max(rates) if max(rates) > 0 else USUAL
        fresh = rebuilt(lab.model.optimizer, learning_rate=rate)
        return Change(f"replacing the schedule by a constant rate of {rate:.3g}", optimizer=fresh)
