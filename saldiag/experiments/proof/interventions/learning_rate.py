"""Another learning rate."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import keras

from saldiag.core.measurement import RangeTest
from saldiag.experiments.modes import ModeErrors
from saldiag.experiments.proof.change import Change
from saldiag.experiments.proof.intervention import Intervention, NotApplicable
from saldiag.experiments.range_test import range_test
from saldiag.rules.updates import fastest_rate
from saldiag_probes.calls import CannotMeasure


def inner(optimizer: Any) -> Any:
    """The optimizer itself, without what scales the loss around it."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def at_rate(lab: Any, rate: float, told: str) -> Change:
    """The optimizer at another rate, which is a variable: nothing is traced anew.

    Raises:
        NotApplicable: the rate follows a schedule.
    """
    optimizer = inner(lab.model.optimizer)
    if isinstance(optimizer._learning_rate, keras.optimizers.schedules.LearningRateSchedule):
        raise NotApplicable("the learning rate follows a schedule")

    def start(seed: int) -> None:  # noqa: ARG001 - the same for every seed
        inner(lab.model.optimizer).learning_rate = rate

    return Change(told, start=start, traced=False)


class _Times:
    """The rate times a factor."""

    factor: ClassVar[float]

    def change(self, lab: Any) -> Change:
        rate = float(keras.ops.convert_to_numpy(inner(lab.model.optimizer).learning_rate))
        other = rate * self.factor
        return at_rate(lab, other, f"learning rate {rate:.3g} → {other:.3g}")


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

    def change(self, lab: Any) -> Change:
        errors = ModeErrors(lab.model, lab.batches)
        try:
            found: RangeTest = range_test(errors)
        except CannotMeasure as error:
            raise NotApplicable(str(error)) from error
        rate = fastest_rate(found)
        if math.isnan(rate):
            raise NotApplicable("at no rate does the loss fall")
        now = float(keras.ops.convert_to_numpy(inner(lab.model.optimizer).learning_rate))
        if 1 / 3 < rate / now < 3:
            raise NotApplicable(f"the learning rate {now:.3g} is where the loss falls fastest")
        return at_rate(lab, rate, f"learning rate {now:.3g} → {rate:.3g} (from a range test)")
