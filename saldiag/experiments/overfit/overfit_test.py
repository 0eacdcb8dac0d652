"""The overfit test: can the model memorise a handful of samples?

A model that cannot drive its training error to nothing on a few samples has a fault in itself, not
in the amount of data (Goodfellow, Bengio & Courville, Deep Learning, 2016, section 11.5). The test
trains on the same few batches until the verdict is clear and no longer, and measures in training
and in inference mode.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from saldiag.core.interrupts import raise_pending, take_interrupt
from saldiag.core.measurement import Baselines, OverfitHistory
from saldiag.experiments.overfit.batchnorm_recalibration import recalibrated_error
from saldiag.experiments.overfit.mode_errors import Batch, ModeErrors, batch_size, sample_variation
from saldiag.rules.verdicts.overfit import should_stop
from saldiag_probes.loss.compiled_loss import learning_rate
from saldiag_probes.state.optimizers import inner_optimizer
from saldiag_probes.trace.execution import without_graph_optimizer

Progress = Callable[[int, float, float], None]
"""Called after each step with the step's number, its loss and the seconds left."""


def _silent(step: int, loss: float, seconds_left: float) -> None:
    """Show nothing."""


@dataclass(frozen=True)
class OverfitPlan:
    """How long to try. ``check_every`` steps both modes are measured.

    ``subset_items`` is the size of the subset that the memorised items were taken from,
    ``validation`` holds batches of others. ``budget_seconds`` count from the end of the first step,
    which traces the graph. ``no_gradient``: it is known already that no trainable variable gets a
    gradient, so that no step could change anything, and none is taken.
    """

    baselines: Baselines
    budget_seconds: float = 180.0
    max_steps: int = 400
    check_every: int = 10
    subset_items: int = 0
    image_size: int | None = None
    no_gradient: bool = False
    validation: tuple[Batch, ...] = ()
    callbacks: tuple[Any, ...] = ()
    progress: Progress = _silent


@dataclass
class _Record:
    """What has been seen so far."""

    loss: list[float] = field(default_factory=list)
    checked: list[int] = field(default_factory=list)
    training: list[float] = field(default_factory=list)
    inference: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    logs: list[dict[str, float]] = field(default_factory=list)
    moved_share: float = math.nan
    stopped: str = "steps"


class OverfitTest:
    """One overfit test of a compiled model on fixed batches."""

    def __init__(self, errors: ModeErrors, plan: OverfitPlan) -> None:
        self.model = errors.model
        self.plan = plan
        self.errors = errors
        self.record = _Record()
        self._deadline = math.inf

    def run(self) -> OverfitHistory:
        """Train until the verdict is clear; Ctrl-C ends it with ``stopped="interrupted"``."""
        self._deadline = math.inf
        try:
            self.check()
            self._train()
            if self.record.checked[-1] != len(self.record.loss):
                self.check()
            return self._finish()
        except BaseException as error:
            if not take_interrupt(error):
                raise
            self.record.stopped = "interrupted"
            return self.history()

    def _train(self) -> None:
        if self.plan.no_gradient or not self.model.trainable_variables:
            self.record.stopped = "no gradient"
            return
        try:
            self._fit()
        except ValueError as error:
            # What Keras' optimizers raise where every gradient is None.
            if "No gradients provided" not in str(error):
                raise
            self.record.stopped = "no gradient"

    def _fit(self) -> None:
        # Left to the traced step, its variables stay unborn where that step cannot be traced.
        if not self.model.optimizer.built:
            self.model.optimizer.build(self.model.trainable_variables)
        variables = self.model.trainable_variables
        # Reading shares the buffer until a step writes.
        before = [variable.value.read_value() for variable in variables]
        with without_graph_optimizer():
            self.model.fit(
                repeated(self.errors.batches),
                epochs=1,
                steps_per_epoch=self.plan.max_steps,
                shuffle=False,
                verbose=0,
                callbacks=[*self.plan.callbacks, _Judge(self)],
            )
        moved = [
            bool(tf.reduce_any(v.value != old)) for v, old in zip(variables, before, strict=True)
        ]
        self.record.moved_share = sum(moved) / len(moved)

    def _finish(self) -> OverfitHistory:
        predictions = self.errors.predict(training=False)
        validation = self.errors.on(self.plan.validation) if self.plan.validation else None
        return self.history(
            recalibrated_error=recalibrated_error(self.errors),
            prediction_variation=sample_variation(predictions),
            validation_error=validation.error(training=False) if validation else math.nan,
        )

    def check(self) -> None:
        """Measure both modes now."""
        self.record.checked.append(len(self.record.loss))
        self.record.training.append(self.errors.error(training=True))
        self.record.inference.append(self.errors.error(training=False))
        self.record.rates.append(learning_rate(inner_optimizer(self.model.optimizer)))

    def after_step(self, logs: dict[str, float]) -> bool:
        """Take note of a step, from what ``fit`` reports of it; whether to stop."""
        raise_pending()
        loss = float(logs.get("loss", math.nan))
        self.record.loss.append(loss)
        self.record.logs.append(logs)
        step = len(self.record.loss)
        if step == 1:
            # The first step traces the graph, however long that takes; the budget is for training.
            self._deadline = time.monotonic() + self.plan.budget_seconds
        left = self._deadline - time.monotonic()
        self.plan.progress(step, loss, left)
        if self._due(step, loss):
            self.check()
        if not math.isfinite(loss):
            self.record.stopped = "non-finite"
        elif should_stop(self.history()):
            self.record.stopped = "memorised"
        elif left <= 0:
            self.record.stopped = "budget"
        return self.record.stopped != "steps"

    def _due(self, step: int, loss: float) -> bool:
        since = step - self.record.checked[-1]
        promising = loss < 0.1 * self.plan.baselines.independent
        return since >= self.plan.check_every or (promising and since >= 3)

    def history(
        self,
        recalibrated_error: float = math.nan,
        prediction_variation: float = math.nan,
        validation_error: float = math.nan,
    ) -> OverfitHistory:
        """The test as far as it has come."""
        record, plan = self.record, self.plan
        items = sum(batch_size(batch) for batch in self.errors.batches)
        return OverfitHistory(
            metric=plan.baselines.metric,
            items=items,
            subset_items=max(plan.subset_items, items),
            batch_size=batch_size(self.errors.batches[0]),
            image_size=plan.image_size,
            steps=np.arange(1, len(record.loss) + 1),
            loss=np.array(record.loss, dtype=np.float64),
            checked=np.array(record.checked, dtype=np.int64),
            training_error=np.array(record.training, dtype=np.float64),
            inference_error=np.array(record.inference, dtype=np.float64),
            recalibrated_error=recalibrated_error,
            baseline_constant=plan.baselines.constant,
            baseline_independent=plan.baselines.independent,
            prediction_variation=prediction_variation,
            no_gradient=plan.no_gradient or record.stopped == "no gradient",
            stopped=record.stopped,
            budget_seconds=plan.budget_seconds,
            max_steps=plan.max_steps,
            validation_error=validation_error,
            rate_growth=_growth(record.rates),
            moved_share=record.moved_share,
            **_metrics(record.logs),
        )


def _metrics(logs: Sequence[dict[str, float]]) -> dict[str, Any]:
    """Names and values by step of what ``fit`` reported; only what it always did, as one number."""
    names = [
        name
        for name in (logs[0] if logs else {})
        if all(np.ndim(step.get(name, [])) == 0 for step in logs)
    ]
    values = np.array([[float(step[name]) for name in names] for step in logs])
    return {"metric_names": tuple(names), "metric_values": values.reshape(len(logs), len(names))}


def _growth(rates: Sequence[float]) -> float:
    """The last rate over that in the middle; nan where there are too few, or it is not known."""
    middle = rates[len(rates) // 2] if len(rates) > 2 else math.nan
    return rates[-1] / middle if middle > 0 else math.nan


class _Judge(keras.callbacks.Callback):
    """Ends ``fit`` when the test says so."""

    def __init__(self, test: OverfitTest) -> None:
        super().__init__()
        self._test = test

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
        # fit reports running means; reset, so that each step's loss is its own.
        self.model.reset_metrics()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
        if self._test.after_step(dict(logs or {})):
            self.model.stop_training = True


def repeated(batches: Sequence[Batch]) -> Any:
    """The batches, over and over, as a dataset of the same structure."""
    dataset = tf.data.Dataset.from_tensors(batches[0])
    for batch in batches[1:]:
        dataset = dataset.concatenate(tf.data.Dataset.from_tensors(batch))
    return dataset.repeat().prefetch(1)
