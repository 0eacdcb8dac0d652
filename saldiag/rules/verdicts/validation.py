"""Validation compared with training: the course of both curves, and the last validation check."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from saldiag.core.measurement import (
    Correction,
    DataFacts,
    Measurements,
    TrainingHistory,
    ValidationCheck,
)
from saldiag.core.wording import number

Array = np.ndarray[Any, Any]

LIMITS: dict[str, float] = {
    "epochs": 3,
    "fell": 0.1,
    "apart": 0.5,
    "rose": 0.25,
    "moved": 0.1,
    "corrected": 0.5,
    "certain": 3.0,
    "likely": 1.96,
    "tie": 0.1,
}
"""Thresholds for comparing validation with training; our own choice unless stated otherwise.

``epochs``: fewest validated epochs. ``fell``: least fall of the loss, as a share of its first
value. As shares of that fall: ``apart`` is the final distance between ``val_loss`` and the loss
above which ``val_loss`` did not follow, ``rose`` the rise of ``val_loss`` since its best epoch,
``moved`` its least improvement since the first epoch. ``corrected``: share of the gap between
validation and training items that a change of the validation data must close to count as a
correction. ``certain``: standard errors over items at which a difference is certain (three: one in
700 by chance). ``likely``: standard errors at which it is significant (the 95 % interval of a
normal distribution). ``tie``: share of the gap by which one correction is clearly better than
another: with red and blue classes, for example, reversed channels and exchanged labels correct the
error equally well.
"""


@dataclass(frozen=True)
class Course:
    """``loss`` and ``val_loss`` over the E epochs with validation."""

    epochs: Array
    """Epoch numbers (E), from 1."""
    loss: Array
    """Training loss after each epoch (E)."""
    val_loss: Array
    """Validation loss after each epoch (E)."""

    @property
    def fall(self) -> float:
        """By how much the loss fell from the first to the last epoch."""
        return float(self.loss[0] - self.loss[-1])

    @property
    def apart(self) -> float:
        """Final distance between ``val_loss`` and the loss, as a share of the fall."""
        return float(self.val_loss[-1] - self.loss[-1]) / self.fall if self.fall else math.inf

    @property
    def best(self) -> int:
        """Index of the lowest ``val_loss``."""
        return int(self.val_loss.argmin())

    @property
    def strays(self) -> bool:
        """Whether the loss fell but ``val_loss`` did not follow."""
        return self.strays_by(LIMITS)

    @property
    def sinks(self) -> bool:
        """Whether ``val_loss`` fell far below 0 but the loss did not: targets are out of range."""
        return bool(float(self.val_loss[-1]) < -abs(self.fall) and float(self.loss.min()) >= 0)

    def strays_by(self, limits: Mapping[str, float]) -> bool:
        """Whether the loss fell but ``val_loss`` did not follow, by other thresholds."""
        fall = self.fall
        if len(self.epochs) < limits["epochs"] or not fall > limits["fell"] * abs(self.loss[0]):
            return False
        best = float(self.val_loss.min())
        apart = self.apart
        stood = float(self.val_loss[0] - best) < limits["moved"] * fall
        rose = float(self.val_loss[-1] - best) > limits["rose"] * fall
        late = len(self.epochs) - 1 - self.best >= 2
        return apart > limits["apart"] or (stood and apart > limits["apart"] / 2) or (late and rose)

    @property
    def described(self) -> str:
        """Both curves in numbers, as the start of a sentence."""
        first, last = (number(float(self.loss[i])) for i in (0, -1))
        start, best, end = (
            number(float(self.val_loss[i])) for i in (0, self.best, len(self.val_loss) - 1)
        )
        turn = f" (best {best} in epoch {self.epochs[self.best]:.0f})" if self.best else ""
        return f"loss fell from {first} to {last}, val_loss went from {start} to {end}{turn}"


def course_in(measured: Measurements) -> Course | None:
    """The curves of loss and ``val_loss``; the loss is corrected for sample and class weights."""
    check = measured.get(ValidationCheck)
    return course_of(
        measured.get(TrainingHistory), check.weight_scale if check is not None else 1.0
    )


def course_of(history: TrainingHistory | None, weight_scale: float = 1.0) -> Course | None:
    """The curves of loss and ``val_loss``; None if one is missing or never finite.

    The loss is multiplied by ``weight_scale``: see ``ValidationCheck``.
    """
    if history is None or not {"loss", "val_loss"} <= set(history.names):
        return None
    values = np.atleast_2d(history.values)
    loss, held = (values[history.names.index(name)] for name in ("loss", "val_loss"))
    kept = np.isfinite(loss) & np.isfinite(held)
    if not kept.any():
        return None
    return Course(history.epochs[kept], weight_scale * loss[kept], held[kept])


def does_not_follow(history: TrainingHistory | None) -> bool:
    """Whether the loss fell but ``val_loss`` did not follow, or fell below 0."""
    course = course_of(history)
    return course is not None and (course.strays or course.sinks)


@dataclass(frozen=True)
class Checked:
    """The last validation check, prepared for rules; errors are in units of the loss."""

    check: ValidationCheck
    """The errors that were measured."""
    reference: float
    """The baseline error, or the first training loss if that is unknown."""
    baseline: float
    """Error of the best prediction that ignores the input; nan if unknown."""
    strays: bool
    """Whether the loss fell but ``val_loss`` did not follow."""
    sinks: bool = False
    """Whether ``val_loss`` fell below 0 but the loss did not."""

    @classmethod
    def of(cls, measured: Measurements) -> Checked:
        """Read the validation check in ``measured``, which must contain one."""
        facts, check = measured.get(DataFacts), measured.need(ValidationCheck)
        baseline = facts.baselines.independent if facts and facts.baselines else math.nan
        baseline *= check.weight_scale
        course = course_in(measured)
        first = float(course.loss[0]) if course is not None else math.nan
        return cls(
            check,
            baseline if baseline > 0 else first,
            baseline,
            course is not None and course.strays,
            course is not None and course.sinks,
        )

    @property
    def validated(self) -> int:
        """Approximate number of items over which ``val_loss`` is averaged."""
        return max(self.check.items, self.check.validated)

    @property
    def inference(self) -> float:
        """Error on the validation items in inference mode."""
        return float(self.check.inference[-1])

    @property
    def reestimated(self) -> float:
        """The same with re-estimated BatchNorm statistics; nan without BatchNorm."""
        return float(self.check.reestimated[-1])

    @property
    def lost(self) -> float:
        """Share of what was learned (reference - re-estimated error) that the statistics cost."""
        gained = self.reference - self.reestimated
        return (self.inference - self.reestimated) / gained if gained > 0 else math.nan

    @property
    def statistics_lag(self) -> bool:
        """Whether the moving statistics alone make inference worse, with statistical certainty."""
        again = self.reestimated
        if not (math.isfinite(again) and self.inference - again > 0.1 * abs(self.reference)):
            return False
        before, after = float(self.check.train_inference[-1]), self.train_reestimated
        if math.isfinite(after) and not before - after > 0.05 * abs(self.reference):
            return False
        errors, renewed = self.item_errors, self.check.reestimated_item_errors
        if len(errors) != len(renewed) or len(errors) < 2:
            return self.inference > 1.25 * again
        return certain(errors - renewed)

    @property
    def item_errors(self) -> Array:
        """Error of each validation item (N) in inference mode; can be empty."""
        return self.check.item_errors

    @property
    def train_reestimated(self) -> float:
        """Error on the training items with re-estimated statistics."""
        return float(self.check.train_reestimated[-1])

    @property
    def renewed(self) -> bool:
        """Whether training items have a lower error with re-estimated statistics."""
        return self.train_reestimated < float(self.check.train_inference[-1])

    @property
    def train(self) -> float:
        """Error on the training items, with or without re-estimation, whichever is lower."""
        errors = [float(self.check.train_inference[-1]), self.train_reestimated]
        return min((e for e in errors if math.isfinite(e)), default=math.nan)

    @property
    def held_out(self) -> float:
        """Error on the validation items, with re-estimation if ``train`` uses it."""
        return self.reestimated if self.renewed else self.inference

    @property
    def best_item_errors(self) -> Array:
        """Error of each validation item, with re-estimation if ``train`` uses it."""
        return self.check.reestimated_item_errors if self.renewed else self.item_errors

    @property
    def gap(self) -> float:
        """Error on validation items minus error on training items."""
        return self.held_out - self.train

    @property
    def items_are_worse(self) -> bool:
        """Whether validation items are worse than training items, with statistical certainty."""
        return self.worse_by(LIMITS["certain"])

    def worse_by(self, deviations: float) -> bool:
        """Whether validation items are worse by more than so many standard errors."""
        if not self.gap > 0.1 * abs(self.reference):
            return False
        held, trained = self.best_item_errors, self.check.train_item_errors
        if len(held) < 2 or len(trained) < 2:
            return self.held_out > 1.5 * self.train
        error = math.sqrt(held.var(ddof=1) / len(held) + trained.var(ddof=1) / len(trained))
        return float(held.mean() - trained.mean()) > deviations * error

    def repair(self, kind: str, share: float = LIMITS["corrected"]) -> Correction | None:
        """The change of the validation data that corrects the error; None if there is none.

        It must close most of the gap, and be better than a prediction that ignores the input:
        scaled-down inputs make a wrong model less confident, not correct. None if a change of the
        other kind is clearly better.
        """
        worse = (self.strays or self.items_are_worse) and self.gap > 0.1 * abs(self.reference)
        if not (worse or self.sinks):
            return None
        wrong = self.reference if self.sinks else min(self.held_out, self.reference)
        limit = wrong - share * (wrong - self.train)
        able = [
            correction
            for correction in self.check.corrections
            if correction.error < limit and (correction.error >= 0 or not self.sinks)
        ]
        best = min((c.error for c in able), default=math.nan)
        close = best + LIMITS["tie"] * (wrong - self.train)
        of_this_kind = [c for c in able if c.kind == kind and c.error <= close]
        return min(of_this_kind, key=lambda c: c.error, default=None)

    def renamed(self, times: float = 2.0) -> bool:
        """Whether the labels are correct after renaming the predicted classes."""
        check = self.check
        known = len(check.mapping) > 0 and check.mapped_accuracy > 0.6
        return known and check.mapped_accuracy > times * check.accuracy

    def mispaired(self, other: float = 0.4) -> bool:
        """Whether predictions match the targets of other items better than their own."""
        check = self.check
        return check.paired_with_other > other and check.paired_with_own < 0.1

    @property
    def true_error(self) -> float:
        """Error on the validation items with the proven cause corrected; nan without one."""
        if self.statistics_lag:
            return self.reestimated
        repairs = [self.repair("inputs"), self.repair("targets")]
        return min((r.error for r in repairs if r is not None), default=math.nan)

    @property
    def misled(self) -> bool:
        """Whether the validation error is wrong for a proven reason."""
        return math.isfinite(self.true_error) or self.renamed() or self.mispaired()

    @property
    def noisy(self) -> bool:
        """Whether two inference passes over the same items differ."""
        return self.check.repeat_difference > 0.01

    @property
    def in_company(self) -> bool:
        """Whether an item's prediction depends on the other items of its batch."""
        return self.check.company_difference > 0.01

    def undecided(self, course: Course, deviations: float = 1.96) -> float:
        """Half-width of the 95 % interval of ``val_loss`` over all its items.

        nan if unknown, or if it is no wider than the final distance between ``val_loss`` and the
        loss.
        """
        errors = self.item_errors
        if len(errors) < 2:
            return math.nan
        half = deviations * float(errors.std(ddof=1)) / math.sqrt(self.validated)
        stray = abs(float(course.val_loss[-1] - course.loss[-1]))
        return half if half > stray else math.nan


def certain(differences: Array) -> bool:
    """Whether the mean of paired differences exceeds 0 by enough standard errors."""
    error = float(differences.std(ddof=1)) / math.sqrt(len(differences))
    return float(differences.mean()) > LIMITS["certain"] * error
