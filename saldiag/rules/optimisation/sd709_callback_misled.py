"""SD709: a callback that watches the wrong thing, the wrong way round, or for too short a time."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds
from saldiag.core.measurement import Measurements, PlannedCallback, TrainingPlan
from saldiag.rules.shared import training_plan as plans
from saldiag.rules.shared.wording import label, listed, number

MORE = {"max": "higher", "min": "lower"}
EFFECTS = {
    "EarlyStopping": "it ends the training while that gets better",
    "ModelCheckpoint": "it keeps the worst model",
    "ReduceLROnPlateau": "it lowers the rate while that gets better",
}
WATCHING = frozenset({"EarlyStopping", "ModelCheckpoint", "ReduceLROnPlateau"})


class CallbackMisled(Rule):
    """EarlyStopping, ModelCheckpoint or ReduceLROnPlateau cannot tell better from worse.

    ## What it does
    Compares what these callbacks monitor with what ``fit`` reports, and what they take for better
    with what the metric says of itself. A quantity that is watched the wrong way round, or is not
    there, is a fault, and so is a quantity of validation data where ``fit`` is known to get none;
    callbacks of one's own excuse a missing one, since they can report it, and a
    ModelCheckpoint that keeps every epoch compares nothing. A patience shorter than the first
    cycle (or warm-up) of the learning rate is a note.

    ## Why is this bad
    Early stopping on a loss that is to rise ends each training after ``patience`` epochs, and keeps
    the worst weights. On a quantity that is not there it never ends one, with no more than a
    warning. And the loss rests, or rises, while a cyclic rate is high: a training that is stopped
    there has not seen the low rates, at which it pays.

    ## Example
    ```python
    keras.callbacks.EarlyStopping(monitor="val_loss", mode="max", patience=5)
    ```

    ## Use instead
    ```python
    keras.callbacks.EarlyStopping(monitor="val_loss", mode="min", patience=5)
    ```

    ## Threshold
    - `cycles` = 1: patience over the first cycle of the learning rate, in epochs; a training is
      best stopped at the end of a cycle (Smith, Cyclical Learning Rates, 2017, section 3.2).
    - `swing` = 2: highest rate over the lowest that makes a cycle.
    """

    code = "SD709"
    name = "callback-misled"
    severity = "warning"
    requires = (TrainingPlan,)
    thresholds = {"cycles": 1, "swing": 2}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        plan = measured.need(TrainingPlan)
        for callback in plan.callbacks:
            if callback.kind not in WATCHING:
                continue
            found = self._unknown(callback)
            if callback.config.get("save_best_only", True):
                found = found or self._wrong_way(callback)
                found = found or self._unvalidated(callback, measured, plan)
                found = found or self._missing(callback, plans.reported(measured, plan))
                found = found or self._impatient(callback, plan, limits)
            if found is not None:
                yield found

    def _unknown(self, callback: PlannedCallback) -> Finding | None:
        if callback.direction != "unknown":
            return None
        monitor = plans.monitored(callback)
        return self.finding(
            f"{callback.kind} monitors {label(monitor)}, and mode=auto cannot tell whether more of "
            "it is better (metrics that say so: 0, threshold 1): Keras ends fit with a ValueError "
            "after the first epoch. Say mode, or monitor a metric that is compiled",
            f'keras.callbacks.{callback.kind}(monitor="val_loss", mode="min")',
            evidence={"monitor": monitor, "metrics": 0, "threshold": 1},
            severity="error",
        )

    def _wrong_way(self, callback: PlannedCallback) -> Finding | None:
        taken, said = callback.direction, callback.metric_direction
        if not taken or not said or taken == said:
            return None
        monitor = plans.monitored(callback)
        return self.finding(
            f"{callback.kind} takes a {MORE[taken]} {label(monitor)} for better, and a "
            f"{MORE[said]} one is (changes of mode: 1, threshold 0): "
            f"{EFFECTS[callback.kind]}. Turn its mode round",
            f'keras.callbacks.{callback.kind}(monitor="{label(monitor)}", mode="{said}")',
            evidence={"monitor": monitor, "mode": taken, "better": said, "threshold": 0},
        )

    def _unvalidated(
        self, callback: PlannedCallback, measured: Measurements, plan: TrainingPlan
    ) -> Finding | None:
        monitor = plans.monitored(callback)
        unfed = plan.validated is False and monitor.startswith("val_")
        if not unfed or plans.adds(measured, plan):
            return None
        bare = label(monitor.removeprefix("val_"))
        return self.finding(
            f"{callback.kind} monitors {label(monitor)}, and fit is given no validation data "
            f"(batches of them: 0, threshold 1), so that there is no such quantity. "
            f"{callback.kind} does nothing so. Hold some items out, or monitor {bare}",
            "model.fit(x, y, validation_split=0.2)",
            evidence={"monitor": monitor, "validation": 0, "threshold": 1},
        )

    def _missing(self, callback: PlannedCallback, reported: tuple[str, ...]) -> Finding | None:
        monitor = plans.monitored(callback)
        if not reported or monitor in plans.RATES or monitor.removeprefix("val_") in reported:
            return None
        return self.finding(
            f"{callback.kind} monitors {label(monitor)}, which fit does not report (metrics of "
            f"that name: 0, threshold 1): it reports {listed(reported, 5)}. {callback.kind} does "
            "nothing so",
            f'keras.callbacks.{callback.kind}(monitor="val_{label(reported[-1])}")',
            evidence={"monitor": monitor, "reported": list(reported), "threshold": 1},
        )

    def _impatient(
        self, callback: PlannedCallback, plan: TrainingPlan, limits: Thresholds
    ) -> Finding | None:
        if callback.kind != "EarlyStopping":
            return None
        config = callback.config
        patience = float(config.get("patience", 0)) + float(config.get("start_from_epoch", 0))
        what, epochs = plans.first_cycle(plan, limits["swing"])
        if not epochs or patience >= limits["cycles"] * epochs:
            return None
        return self.finding(
            f"EarlyStopping waits {number(patience)} epochs, {number(patience / epochs)} of the "
            f"learning rate's first {what}, {number(epochs)} epochs (threshold "
            f"{number(limits['cycles'])}): a loss that rests for so long ends the training before "
            f"the rate has come {'down' if what == 'cycle' else 'to its peak'}. Wait for a whole "
            "one",
            f"keras.callbacks.EarlyStopping(patience={int(np.ceil(epochs))})",
            evidence={
                "patience": patience, "cycle_epochs": epochs, "cycles": patience / epochs,
                "threshold": limits["cycles"],
            },
            severity="info",
            confidence=0.7,
        )  # fmt: skip
