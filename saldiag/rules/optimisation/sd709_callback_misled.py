"""SD709: a callback monitors the wrong metric, in the wrong mode, or with too little patience."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds
from saldiag.core.measurement import Measurements, PlannedCallback, TrainingPlan
from saldiag.core.wording import label, listed, number
from saldiag.rules.shared import training_plan as plans

BETTER_VALUES = {"max": "higher", "min": "lower"}
EFFECTS_OF_WRONG_MODE = {
    "EarlyStopping": "it stops the training while the metric improves",
    "ModelCheckpoint": "it keeps the worst model",
    "ReduceLROnPlateau": "it lowers the learning rate while the metric improves",
}
MONITORING_CALLBACKS = frozenset({"EarlyStopping", "ModelCheckpoint", "ReduceLROnPlateau"})


class CallbackMisled(Rule):
    """EarlyStopping, ModelCheckpoint or ReduceLROnPlateau cannot tell better from worse.

    ## What it does
    Compares what these callbacks monitor with what ``fit`` reports, and their mode with the
    direction that the metric declares. Reported are a wrong mode, a metric that does not exist, and
    a validation metric when ``fit`` is known to get no validation data. A missing metric is not
    reported if there are custom callbacks, which can add it, and a ModelCheckpoint that keeps every
    epoch compares nothing. Patience shorter than the first cycle (or warm-up) of the learning rate
    is a note.

    ## Why is this bad
    Early stopping in mode "max" on a loss ends each training after ``patience`` epochs and keeps
    the worst weights. On a missing metric it never stops a training and only warns. With a cyclic
    learning rate, the loss stagnates or rises while the rate is high: a training stopped there
    never reaches the low rates that would have improved it.

    ## Example
    ```python
    keras.callbacks.EarlyStopping(monitor="val_loss", mode="max", patience=5)
    ```

    ## Use instead
    ```python
    keras.callbacks.EarlyStopping(monitor="val_loss", mode="min", patience=5)
    ```

    ## Threshold
    - `cycles` = 1: patience over the first cycle of the learning rate, in epochs. A training is
      best stopped at the end of a cycle (Smith, Cyclical Learning Rates, 2017, section 3.2).
    - `swing` = 2: highest over lowest learning rate, from which on it is a cycle.
    """

    code = "SD709"
    name = "callback-misled"
    severity = "warning"
    requires = (TrainingPlan,)
    thresholds = {"cycles": 1, "swing": 2}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        plan = measured.need(TrainingPlan)
        for callback in plan.callbacks:
            if callback.kind not in MONITORING_CALLBACKS:
                continue
            found = self._undecidable_mode(callback)
            if callback.config.get("save_best_only", True):
                found = found or self._wrong_mode(callback)
                found = found or self._without_validation(callback, measured, plan)
                found = found or self._missing_metric(
                    callback, plans.reported_metrics(measured, plan)
                )
                found = found or self._too_impatient(callback, plan, limits)
            if found is not None:
                yield found

    def _undecidable_mode(self, callback: PlannedCallback) -> Finding | None:
        if callback.direction != "unknown":
            return None
        monitor = plans.monitored_metric(callback)
        return self.finding(
            f'{callback.kind} monitors {label(monitor)}, but with mode="auto" Keras cannot tell '
            "whether higher or lower is better (metrics that declare it: 0, threshold 1): it "
            "raises a ValueError after the first epoch. Set mode, or monitor a compiled metric",
            f'keras.callbacks.{callback.kind}(monitor="val_loss", mode="min")',
            evidence={"monitor": monitor, "metrics": 0, "threshold": 1},
            severity="error",
        )

    def _wrong_mode(self, callback: PlannedCallback) -> Finding | None:
        mode, better = callback.direction, callback.metric_direction
        if not mode or not better or mode == better:
            return None
        monitor = plans.monitored_metric(callback)
        return self.finding(
            f'{callback.kind}(monitor="{label(monitor)}") runs in mode "{mode}", but '
            f"{BETTER_VALUES[better]} is better (wrong modes: 1, threshold 0): "
            f'{EFFECTS_OF_WRONG_MODE[callback.kind]}. Set mode="{better}"',
            f'keras.callbacks.{callback.kind}(monitor="{label(monitor)}", mode="{better}")',
            evidence={"monitor": monitor, "mode": mode, "better": better, "threshold": 0},
        )

    def _without_validation(
        self, callback: PlannedCallback, measured: Measurements, plan: TrainingPlan
    ) -> Finding | None:
        monitor = plans.monitored_metric(callback)
        unfed = plan.validated is False and monitor.startswith("val_")
        if not unfed or plans.can_report_more(measured, plan):
            return None
        bare = label(monitor.removeprefix("val_"))
        return self.finding(
            f"{callback.kind} monitors {label(monitor)}, but fit gets no validation data "
            f"(validation batches: 0, threshold 1): {callback.kind} has no effect. Hold out some "
            f"items for validation, or monitor {bare}",
            "model.fit(x, y, validation_split=0.2)",
            evidence={"monitor": monitor, "validation": 0, "threshold": 1},
        )

    def _missing_metric(
        self, callback: PlannedCallback, reported: tuple[str, ...]
    ) -> Finding | None:
        monitor = plans.monitored_metric(callback)
        if (
            not reported
            or monitor in plans.RATE_METRICS
            or monitor.removeprefix("val_") in reported
        ):
            return None
        return self.finding(
            f"{callback.kind} monitors {label(monitor)}, which fit does not report (metrics with "
            f"that name: 0, threshold 1): {callback.kind} has no effect. fit reports "
            f"{listed(reported, 5)}",
            f'keras.callbacks.{callback.kind}(monitor="val_{label(reported[-1])}")',
            evidence={"monitor": monitor, "reported": list(reported), "threshold": 1},
        )

    def _too_impatient(
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
            f"EarlyStopping has a patience of {number(patience)} epochs, "
            f"{number(patience / epochs)} of the learning rate's first {what}, {number(epochs)} "
            f"epochs (threshold {number(limits['cycles'])}): a plateau ends the training before "
            "the rate "
            f"{'falls' if what == 'cycle' else 'reaches its peak'}. Wait for at least one {what}",
            f"keras.callbacks.EarlyStopping(patience={int(np.ceil(epochs))})",
            evidence={
                "patience": patience,
                "cycle_epochs": epochs,
                "cycles": patience / epochs,
                "threshold": limits["cycles"],
            },
            severity="info",
            confidence=0.7,
        )
