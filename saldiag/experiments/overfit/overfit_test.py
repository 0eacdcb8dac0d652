"""The overfit test: can the model memorise a handful of samples?

If a model cannot drive its training error to near zero on a few samples, the fault lies in the
model, not in the amount of data (Goodfellow, Bengio & Courville, Deep Learning, 2016, section
11.5). The test trains on the same few batches only until the verdict is clear, and measures in
training and in inference mode.
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

StepCallback = Callable[[int, float, float], None]
"""Called after each step with the step's number, its loss and the seconds left."""


def _show_nothing(step: int, loss: float, seconds_left: float) -> None:
    """Show nothing."""


@dataclass(frozen=True)
class OverfitPlan:
    """How long the test runs, and what it reports beside its measurements."""

    baselines: Baselines
    """Errors of the best predictions that ignore the input, on the same items."""
    budget_seconds: float = 180.0
    """Seconds of training, counted from the end of the first step, which traces the graph."""
    max_steps: int = 400
    """Most training steps."""
    check_every: int = 10
    """Steps between two measurements in both modes."""
    subset_items: int = 0
    """Size of the subset that the memorised items were taken from; 0: no larger than they."""
    image_size: int | None = None
    """Side of the images in pixels; None for other data."""
    no_gradient: bool = False
    """Whether no trainable variable is known to receive a gradient; then no step is taken."""
    validation: tuple[Batch, ...] = ()
    """Batches of other items, to measure the error on at the end; empty for none."""
    callbacks: tuple[Any, ...] = ()
    """Keras callbacks of the training."""
    progress: StepCallback = _show_nothing
    """Called after each step."""


@dataclass
class _OverfitRecord:
    """What was measured so far."""

    loss: list[float] = field(default_factory=list)
    """Loss of each step."""
    checked: list[int] = field(default_factory=list)
    """Numbers of steps after which both modes were measured."""
    training: list[float] = field(default_factory=list)
    """Training-mode error of each measurement."""
    inference: list[float] = field(default_factory=list)
    """Inference-mode error of each measurement."""
    rates: list[float] = field(default_factory=list)
    """Learning rate at each measurement."""
    logs: list[dict[str, float]] = field(default_factory=list)
    """What ``fit`` reported of each step."""
    moved_share: float = math.nan
    """Share of the trainable variables that changed; nan if no training ended."""
    stopped: str = "steps"
    """Why the training ended, as in ``OverfitHistory.stopped``."""


class OverfitTest:
    """One overfit test of a compiled model on fixed batches.

    Args:
        errors: the model and the batches to memorise.
        plan: how long to try.
    """

    def __init__(self, errors: ModeErrors, plan: OverfitPlan) -> None:
        self.model = errors.model
        self.plan = plan
        self.errors = errors
        self.record = _OverfitRecord()
        self._deadline = math.inf

    def run(self) -> OverfitHistory:
        """Train until the verdict is clear; the model stays trained.

        Ctrl-C ends the test with ``stopped="interrupted"``.
        """
        self._deadline = math.inf
        try:
            self.measure_modes()
            self._train_if_trainable()
            if self.record.checked[-1] != len(self.record.loss):
                self.measure_modes()
            return self._final_history()
        except BaseException as error:
            if not take_interrupt(error):
                raise
            self.record.stopped = "interrupted"
            return self.to_history()

    def _train_if_trainable(self) -> None:
        if self.plan.no_gradient or not self.model.trainable_variables:
            self.record.stopped = "no gradient"
            return
        try:
            self._fit_model()
        except ValueError as error:
            # What Keras' optimizers raise where every gradient is None.
            if "No gradients provided" not in str(error):
                raise
            self.record.stopped = "no gradient"

    def _fit_model(self) -> None:
        # Built by the traced step, its variables would not exist if that step cannot be traced.
        if not self.model.optimizer.built:
            self.model.optimizer.build(self.model.trainable_variables)
        variables = self.model.trainable_variables
        # Reading shares the buffer until a step writes.
        before = [variable.value.read_value() for variable in variables]
        with without_graph_optimizer():
            self.model.fit(
                repeated_dataset(self.errors.batches),
                epochs=1,
                steps_per_epoch=self.plan.max_steps,
                shuffle=False,
                verbose=0,
                callbacks=[*self.plan.callbacks, _StopWhenDecided(self)],
            )
        moved = [
            bool(tf.reduce_any(v.value != old)) for v, old in zip(variables, before, strict=True)
        ]
        self.record.moved_share = sum(moved) / len(moved)

    def _final_history(self) -> OverfitHistory:
        predictions = self.errors.predict(training=False)
        validation = self.errors.on_batches(self.plan.validation) if self.plan.validation else None
        return self.to_history(
            recalibrated_error=recalibrated_error(self.errors),
            prediction_variation=sample_variation(predictions),
            validation_error=validation.error(training=False) if validation else math.nan,
        )

    def measure_modes(self) -> None:
        """Measure the error in both modes now."""
        self.record.checked.append(len(self.record.loss))
        self.record.training.append(self.errors.error(training=True))
        self.record.inference.append(self.errors.error(training=False))
        self.record.rates.append(learning_rate(inner_optimizer(self.model.optimizer)))

    def after_step(self, logs: dict[str, float]) -> bool:
        """Record a step from the logs of ``fit``; returns whether to stop."""
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
        if self._check_is_due(step, loss):
            self.measure_modes()
        if not math.isfinite(loss):
            self.record.stopped = "non-finite"
        elif should_stop(self.to_history()):
            self.record.stopped = "memorised"
        elif left <= 0:
            self.record.stopped = "budget"
        return self.record.stopped != "steps"

    def _check_is_due(self, step: int, loss: float) -> bool:
        """Whether to measure both modes after this step: sooner where the loss is low already."""
        since = step - self.record.checked[-1]
        promising = loss < 0.1 * self.plan.baselines.independent
        return since >= self.plan.check_every or (promising and since >= 3)

    def to_history(
        self,
        recalibrated_error: float = math.nan,
        prediction_variation: float = math.nan,
        validation_error: float = math.nan,
    ) -> OverfitHistory:
        """The measurement so far; the arguments are known only at the end of the test."""
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
            rate_growth=_rate_growth(record.rates),
            moved_share=record.moved_share,
            **_metric_columns(record.logs),
        )


def _metric_columns(logs: Sequence[dict[str, float]]) -> dict[str, Any]:
    """Names and values (steps, names) of the scalars that ``fit`` reported at every step."""
    names = [
        name
        for name in (logs[0] if logs else {})
        if all(np.ndim(step.get(name, [])) == 0 for step in logs)
    ]
    values = np.array([[float(step[name]) for name in names] for step in logs])
    return {"metric_names": tuple(names), "metric_values": values.reshape(len(logs), len(names))}


def _rate_growth(rates: Sequence[float]) -> float:
    """The last learning rate over the middle one; nan for fewer than three, or unknown ones."""
    middle = rates[len(rates) // 2] if len(rates) > 2 else math.nan
    return rates[-1] / middle if middle > 0 else math.nan


class _StopWhenDecided(keras.callbacks.Callback):
    """Stops ``fit`` when the verdict of the test is clear."""

    def __init__(self, test: OverfitTest) -> None:
        super().__init__()
        self._test = test

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
        # fit reports running means; reset, so that each step's loss is its own.
        self.model.reset_metrics()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
        if self._test.after_step(dict(logs or {})):
            self.model.stop_training = True


def repeated_dataset(batches: Sequence[Batch]) -> Any:
    """The batches, repeated endlessly, as a ``tf.data.Dataset`` of the same structure."""
    dataset = tf.data.Dataset.from_tensors(batches[0])
    for batch in batches[1:]:
        dataset = dataset.concatenate(tf.data.Dataset.from_tensors(batch))
    return dataset.repeat().prefetch(1)
