"""SD706: the learning rate schedule ends too early, or its warm-up is longer than the training."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from saldiag.core.findings.finding import Finding, Severity
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds
from saldiag.core.measurement import Array, Measurements, TrainingPlan
from saldiag.core.wording import counted, label, number, percent

LENGTH_ARGUMENTS = ("warmup_steps", "step_size", "first_decay_steps", "decay_steps")


class ScheduleAtZero(Rule):
    """The learning rate is close to zero for most of the planned training.

    ## What it does
    Samples the learning rate of the schedule (or of a ``LearningRateScheduler``) over the planned
    epochs. Reports schedules that stay at or below a ten-thousandth of their peak for the last half
    of the training or more, and trainings that end before the rate comes near its peak, because the
    warm-up or cycle is longer than the training.

    ## Why is this bad
    A schedule counts optimizer steps, not epochs. A schedule given in epochs ends within the first
    epoch, and the rest of the training changes nothing; one that is too long stays near its initial
    rate.

    ## Example
    ```python
    schedule = keras.optimizers.schedules.CosineDecay(1e-3, decay_steps=epochs)
    ```

    ## Use instead
    ```python
    schedule = keras.optimizers.schedules.CosineDecay(1e-3, decay_steps=epochs * steps_per_epoch)
    ```

    ## Threshold
    - `rate` = 1e-4: learning rate over the highest planned one, at or below which the schedule has
      ended. A step schedule for ImageNet goes down to a thousandth (He et al., Deep Residual
      Learning, 2016; three drops by ten in Goyal et al., Accurate, Large Minibatch SGD, 2017).
    - `share` = 0.5: share of the training after that; cosine decay to 0 spends only 0.6 % of its
      time there (Loshchilov & Hutter, SGDR, 2017).
    - `whole` = 0.9: share from which on it is an error.
    - `reached` = 0.1: highest planned rate over the schedule's peak, below which the schedule has
      not begun.
    """

    code = "SD706"
    name = "schedule-at-zero"
    severity = "warning"
    requires = (TrainingPlan,)
    thresholds = {"rate": 1e-4, "share": 0.5, "whole": 0.9, "reached": 0.1}
    explains = {"SD702": "anywhere", "SD801": "anywhere"}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        plan = measured.need(TrainingPlan)
        if plan.schedule == "constant":
            return
        if len(plan.rates) < 2:
            raise CannotJudge("the planned training has only one epoch, or its length is unknown")
        if not np.isfinite(plan.rates).all():
            raise CannotJudge("the schedule returns non-finite learning rates")
        highest = float(plan.rates.max())
        over = _share_after_last_high_rate(plan.rates, limits["rate"] * highest)
        if over >= limits["share"]:
            severity: Severity = "error" if over >= limits["whole"] else "warning"
            yield self._schedule_ended(plan, over, limits, severity)
        elif highest < limits["reached"] * plan.peak:
            yield self._schedule_not_begun(plan, highest, limits["reached"])

    def _schedule_ended(
        self, plan: TrainingPlan, over: float, limits: Thresholds, severity: Severity
    ) -> Finding:
        highest = float(plan.rates.max())
        return self.finding(
            f"{label(plan.schedule)}: after {number((1 - over) * _planned_epochs(plan))} of "
            f"{counted(_planned_epochs(plan), 'epoch')} the learning rate stays at or near "
            f"{number(float(plan.rates[-1]))} (peak {number(highest)}): "
            f"{percent(over)} of the training changes nothing (threshold "
            f"{percent(limits['share'])}){_length_in_epochs(plan, LENGTH_ARGUMENTS[::-1])}",
            _schedule_of_the_right_length(plan),
            evidence={
                "share": over,
                "threshold": limits["share"],
                "last_rate": float(plan.rates[-1]),
                "highest_rate": highest,
                "epochs": plan.epochs,
                "steps_per_epoch": plan.steps_per_epoch,
            },
            severity=severity,
        )

    def _schedule_not_begun(self, plan: TrainingPlan, highest: float, limit: float) -> Finding:
        return self.finding(
            f"{label(plan.schedule)}: within {counted(_planned_epochs(plan), 'epoch')} the "
            f"learning rate reaches at most {number(highest)}, {percent(highest / plan.peak)} of "
            f"its peak {number(plan.peak)} (threshold {percent(limit)}): the warm-up or cycle is "
            f"longer than the training{_length_in_epochs(plan)}",
            _schedule_of_the_right_length(plan),
            evidence={
                "highest_rate": highest,
                "peak": plan.peak,
                "reached": highest / plan.peak,
                "threshold": limit,
                "epochs": plan.epochs,
                "steps_per_epoch": plan.steps_per_epoch,
            },
        )


def _share_after_last_high_rate(rates: Array, limit: float) -> float:
    """Share of the training after the last rate above the limit; 1 if none is above it."""
    above = np.flatnonzero(rates > limit)
    return 1.0 - (float(above[-1]) + 1) / len(rates) if len(above) else 1.0


def _planned_epochs(plan: TrainingPlan) -> int:
    return plan.epochs or len(plan.rates)


def _length_in_epochs(plan: TrainingPlan, names: Sequence[str] = LENGTH_ARGUMENTS) -> str:
    """Sentence that converts one length argument of the schedule from steps to epochs."""
    known = [name for name in names if plan.schedule_config.get(name)]
    if not known or not plan.steps_per_epoch:
        return ". Check whether the schedule counts steps or epochs"
    length = float(plan.schedule_config[known[0]])
    return (
        f". {known[0]}={number(length)} counts optimizer steps: "
        f"{number(length / plan.steps_per_epoch)} epochs of {counted(plan.steps_per_epoch, 'step')}"
    )


def _schedule_of_the_right_length(plan: TrainingPlan) -> str:
    if plan.schedule == "LearningRateScheduler" or not plan.steps_per_epoch:
        return "keras.callbacks.LearningRateScheduler(lambda epoch, rate: 0.95 * rate)"
    steps = _planned_epochs(plan) * plan.steps_per_epoch
    return f"keras.optimizers.schedules.CosineDecay(1e-3, decay_steps={steps})"
