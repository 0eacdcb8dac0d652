"""SD706: a learning rate schedule that is over, or has not begun, in the planned training."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from saldiag.core.findings.finding import Finding, Severity
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds
from saldiag.core.measurement import Array, Measurements, TrainingPlan
from saldiag.rules.shared.wording import counted, label, number, percent

LENGTHS = ("warmup_steps", "step_size", "first_decay_steps", "decay_steps")


class ScheduleAtZero(Rule):
    """The learning rate is next to nothing for most of the planned training.

    ## What it does
    Takes the rates of the schedule (or of a ``LearningRateScheduler``) over the epochs that are
    planned. Speaks up where from some point on they stay at a ten-thousandth of their peak or
    below, for half of the training or more; and where the training ends before the rate has come
    near its peak, a warm-up or cycle that is longer than all of it.

    ## Why is this bad
    A schedule counts optimizer steps, not epochs. One that is given epochs is over within the
    first of them, and the rest of the training changes nothing; the other way round it stays
    where it began.

    ## Example
    ```python
    schedule = keras.optimizers.schedules.CosineDecay(1e-3, decay_steps=epochs)
    ```

    ## Use instead
    ```python
    schedule = keras.optimizers.schedules.CosineDecay(1e-3, decay_steps=epochs * steps_per_epoch)
    ```

    ## Threshold
    - `rate` = 1e-4: learning rate over the highest one planned, at or below which it is at its
      end. A step schedule for ImageNet goes down to a thousandth (He et al., Deep Residual
      Learning, 2016; three drops by ten in Goyal et al., Accurate, Large Minibatch SGD, 2017).
    - `share` = 0.5: part of the training that the rate has to spend there; cosine decay to 0 spends
      0.6 % of its time below (Loshchilov & Hutter, SGDR, 2017).
    - `whole` = 0.9: part from which on it is an error.
    - `reached` = 0.1: highest rate planned over the schedule's peak, below which it has not begun.
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
            raise CannotJudge("the planned training is a single epoch, or its length is not known")
        if not np.isfinite(plan.rates).all():
            raise CannotJudge("the schedule gives rates that are not finite")
        highest = float(plan.rates.max())
        over = _over(plan.rates, limits["rate"] * highest)
        if over >= limits["share"]:
            severity: Severity = "error" if over >= limits["whole"] else "warning"
            yield self._ended(plan, over, limits, severity)
        elif highest < limits["reached"] * plan.peak:
            yield self._not_begun(plan, highest, limits["reached"])

    def _ended(
        self, plan: TrainingPlan, over: float, limits: Thresholds, severity: Severity
    ) -> Finding:
        highest = float(plan.rates.max())
        return self.finding(
            f"{label(plan.schedule)}: after {number((1 - over) * _epochs(plan))} of "
            f"{counted(_epochs(plan), 'epoch')} the learning rate stays at "
            f"{number(float(plan.rates[-1]))} or near it (it was {number(highest)}): "
            f"{percent(over)} of the training changes nothing (threshold "
            f"{percent(limits['share'])}){_units(plan, LENGTHS[::-1])}",
            _fix(plan),
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

    def _not_begun(self, plan: TrainingPlan, highest: float, limit: float) -> Finding:
        return self.finding(
            f"{label(plan.schedule)}: within {counted(_epochs(plan), 'epoch')} the learning rate "
            f"gets up to {number(highest)}, {percent(highest / plan.peak)} of its peak "
            f"{number(plan.peak)} (threshold {percent(limit)}): warm-up or cycle is longer than "
            f"the training{_units(plan)}",
            _fix(plan),
            evidence={
                "highest_rate": highest,
                "peak": plan.peak,
                "reached": highest / plan.peak,
                "threshold": limit,
                "epochs": plan.epochs,
                "steps_per_epoch": plan.steps_per_epoch,
            },
        )


def _over(rates: Array, limit: float) -> float:
    """Share of the training after the last rate above the limit; all of it where none is."""
    above = np.flatnonzero(rates > limit)
    return 1.0 - (float(above[-1]) + 1) / len(rates) if len(above) else 1.0


def _epochs(plan: TrainingPlan) -> int:
    return plan.epochs or len(plan.rates)


def _units(plan: TrainingPlan, names: Sequence[str] = LENGTHS) -> str:
    """What the schedule counts in, where one of its lengths is known."""
    known = [name for name in names if plan.schedule_config.get(name)]
    if not known or not plan.steps_per_epoch:
        return ". Look at what the schedule counts in"
    length = float(plan.schedule_config[known[0]])
    return (
        f". {known[0]}={number(length)} counts steps: that is "
        f"{number(length / plan.steps_per_epoch)} epochs of {plan.steps_per_epoch}"
    )


def _fix(plan: TrainingPlan) -> str:
    if plan.schedule == "LearningRateScheduler" or not plan.steps_per_epoch:
        return "keras.callbacks.LearningRateScheduler(lambda epoch, rate: 0.95 * rate)"
    steps = _epochs(plan) * plan.steps_per_epoch
    return f"keras.optimizers.schedules.CosineDecay(1e-3, decay_steps={steps})"
