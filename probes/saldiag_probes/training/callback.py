"""The training hook: gradient norms, losses and histograms, computed in the run's own graph."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import keras

from saldiag.core.errors import SaldiagError
from saldiag.core.interrupts import reraise_interrupt
from saldiag.core.measurement import GradientHistory, Histograms, Measurement
from saldiag.core.training.schedule import PRESETS, Schedule, never
from saldiag_probes.state.optimizers import optimizers_of
from saldiag_probes.trace.paths import variable_paths
from saldiag_probes.training.gradient_norms import HISTOGRAM_CAPACITY, GradientNorms
from saldiag_probes.training.histograms import histograms_of, merge_histograms
from saldiag_probes.training.merge_histories import merge_histories
from saldiag_probes.training.step_loss import StepLossHook

RING_CAPACITY = 256
"""Measured steps that the graph keeps until Python has to read them: 3 MB for 230 variables."""

MAX_UNREAD_STEPS = 1 << 12
"""Steps after which Python reads from the graph in any case, to extend the plan of steps."""

OnMeasure = Callable[[GradientHistory], None]
"""Called with the measurements that are new."""


class Watch(keras.callbacks.Callback):
    """Keras callback that measures a training run; pass it to ``fit``.

    Every optimizer of the model is measured (a GAN's optimizers share one history). Steps that are
    not scheduled cost next to nothing. The hooks are removed when training ends. ``fit`` does not
    notify its callbacks of an exception, so call ``close`` after one (or ``measurements``, which
    works at any time). One Watch can serve several calls of ``fit``; steps continue counting.

    An error in the hooks never reaches the training: the hooks are removed, training continues, and
    ``failed`` holds the reason. ``failed`` is also set if no optimizer step was seen.

    Args:
        schedule: the steps at which to measure gradients, or a preset's name (``economy``,
            ``business``, ``full``); steps are batches, counted from 0.
        histograms: the steps at which to take histograms of gradients and, after the step, weights.
        on_measure: called after a measured step with the new measurements.

    Raises:
        ValueError: there is no preset of that name.
    """

    def __init__(
        self,
        schedule: str | Schedule = "economy",
        histograms: Schedule = never,
        on_measure: OnMeasure | None = None,
    ) -> None:
        super().__init__()
        self._schedule = _resolve_schedule(schedule)
        self._histograms = histograms
        self._on_measure = on_measure
        self._session: _Session | None = None
        self._last: _Session | None = None
        self._histories: list[GradientHistory] = []
        self._histogram_parts: list[Histograms] = []
        self._steps = 0
        self.failed: str | None = None

    def measurements(self) -> list[Measurement]:
        """Everything measured so far: a GradientHistory and, if scheduled, Histograms."""
        self._collect_new()
        self._histories = [merge_histories(self._histories)]
        measurements: list[Measurement] = [h for h in self._histories if h.variables]
        if self._histograms is not never:
            measurements.append(merge_histograms(self._histogram_parts))
        return measurements

    def attach(self, model: Any, optimizer: Any = None) -> None:
        """Install the hooks on ``optimizer``, or on all of the model's optimizers, from now on."""
        self.close()
        self.failed = None
        optimizers = list(optimizers_of(model).values()) if optimizer is None else [optimizer]
        last, self._last = self._last, None
        if last is not None and last.can_reopen(model, optimizers):
            self._run_guarded(lambda: self._resume_session(last))
            return
        first, histograms = self._steps, self._histograms

        def open_session() -> None:
            self._session = _Session(
                model,
                optimizers,
                schedule=lambda step: self._schedule(first + step),
                histograms=never if histograms is never else lambda step: histograms(first + step),
                immediate=self._on_measure is not None,
            )

        self._run_guarded(open_session)

    def add_optimizer(self, optimizer: Any) -> None:
        """Install the hooks on one more optimizer of the same model, from its next step on.

        The targets of gradient tapes no longer count as the model's loss, because each optimizer
        has its own.
        """
        session = self._session
        if session is not None:
            self._run_guarded(lambda: session.add_optimizer(optimizer))

    @property
    def steps(self) -> int:
        """Steps taken so far, measured or not; with several optimizers the largest count."""
        return self._steps + (self._session.steps if self._session is not None else 0)

    def close(self) -> None:
        """Remove the hooks. The measurements stay."""
        self._collect_new()
        session, self._session = self._session, None
        if session is not None:
            self._steps += session.steps
            session.close()
            self._last = session

    def _resume_session(self, session: _Session) -> None:
        session.reopen()
        self._steps -= session.steps
        self._session = session

    def on_train_begin(self, logs: Any = None) -> None:  # noqa: ARG002 - Keras' signature
        """Install the hooks on the model's optimizers."""
        self.attach(self.model)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002 - as above
        """Read new measurements if they are due, or before the graph runs out of room."""
        session = self._session
        if session is None or not session.count_batch():
            return
        self._run_guarded(session.update_progress)
        if session.is_full or (session.pending and self._on_measure is not None):
            for history in self._collect_new():
                if self._on_measure is not None:
                    self._on_measure(history)

    def on_train_end(self, logs: Any = None) -> None:  # noqa: ARG002 - as above
        """Remove the hooks; a run without an optimizer step counts as failed."""
        session = self._session
        self.close()
        if session is not None and not session.steps and self.failed is None:
            self.failed = (
                "no optimizer step was seen: no variable is trainable, or the training step was "
                "traced before fit, or it does not call the optimizer's apply"
            )

    def _collect_new(self) -> list[GradientHistory]:
        """Read what is new from the graph: no history, or one."""
        new: list[GradientHistory] = []
        session = self._session

        def collect_from_session() -> None:
            if session is None:
                return
            history, histograms = session.collect_new(self._steps)
            self._histogram_parts += histograms
            self.failed = self.failed or session.failed
            if history.steps.size:
                new.append(history)

        self._run_guarded(collect_from_session)
        self._histories += new
        return new

    def _run_guarded(self, action: Callable[[], None]) -> None:
        """Run ``action``; on an error remove the hooks and keep the reason."""
        try:
            action()
        except Exception as error:  # a probe must never break the training
            reraise_interrupt(error)
            first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
            is_explained = isinstance(error, SaldiagError)
            self.failed = first_line if is_explained else f"the training hook failed: {first_line}"
            session, self._session = self._session, None
            if session is not None:
                session.close()


@contextlib.contextmanager
def watch(
    model: Any,
    optimizer: Any = None,
    *,
    schedule: str | Schedule = "economy",
    histograms: Schedule = never,
) -> Iterator[Watch]:
    """Measure a custom training loop: every call of the optimizer's ``apply`` inside the block.

    A ``tf.function`` around the training step must be called for the first time inside the block.
    The loss is that of ``model.compute_loss`` if the loop calls it, otherwise the target of
    ``tape.gradient``. Histograms are those of gradients. Only the last steps of a long loop are
    kept, unless ``measurements`` is called from time to time.

    Args:
        model: the model that the loop trains.
        optimizer: the optimizer to measure; all of the model's if None.
        schedule: the steps at which to measure, or a preset's name.
        histograms: the steps at which to take histograms.

    Raises:
        ValueError: there is no preset of that name.
    """
    hook = Watch(schedule, histograms)
    hook.attach(model, optimizer)
    try:
        yield hook
    finally:
        hook.close()


class _Session:
    """The hooks on one model from installing to removing them; its steps count from 0."""

    def __init__(
        self,
        model: Any,
        optimizers: Iterable[Any],
        *,
        schedule: Schedule,
        histograms: Schedule,
        immediate: bool,
    ) -> None:
        self._model = model
        self._optimizers = list(optimizers)
        self._functions: tuple[Any, Any] = (None, None)  # train_function with and without hooks
        self._schedule = schedule
        self._histograms = histograms
        self._immediate = immediate
        self._batches = 0
        self._next_check = 1
        self._steps_per_batch = 1
        self._capacity = max(RING_CAPACITY, 2 * getattr(model, "steps_per_execution", 1))
        self._counted_steps = 0
        self._collected_steps = 0
        self.pending = 0
        self._pending_histograms = 0
        self._weights: list[Histograms] = []
        self._loss_hook = StepLossHook(model, tapes=len(self._optimizers) < 2)
        self._probes: list[GradientNorms] = []
        try:
            for optimizer in self._optimizers or [None]:
                self._probes.append(self._new_probe(optimizer))
        except BaseException:
            self.close()
            raise

    def add_optimizer(self, optimizer: Any) -> None:
        """Measure one more optimizer."""
        self._loss_hook.ignore_tapes()
        self._optimizers.append(optimizer)
        self._probes.append(self._new_probe(optimizer))

    def _new_probe(self, optimizer: Any) -> GradientNorms:
        return GradientNorms(
            self._model,
            optimizer,
            schedule=self._schedule,
            histograms=self._histograms,
            capacity=self._capacity,
            loss=self._loss_hook,
        )

    @property
    def steps(self) -> int:
        """Steps taken; with several optimizers the largest count."""
        return max((probe.steps_taken for probe in self._probes), default=0)

    @property
    def failed(self) -> str | None:
        """Why one of the probes failed; None if none did."""
        return next((probe.failed for probe in self._probes if probe.failed), None)

    @property
    def is_full(self) -> bool:
        """Whether Python should read now, before measurements or planned steps run out."""
        return (
            self.pending >= self._capacity // 2
            or self._pending_histograms >= HISTOGRAM_CAPACITY // 2
            or self._counted_steps - self._collected_steps >= MAX_UNREAD_STEPS
        )

    def count_batch(self) -> bool:
        """Count a batch; whether ``update_progress`` is due.

        Reading the graph's step counter after every batch would cost more than a small step.
        """
        self._batches += 1
        return self._batches >= self._next_check

    def update_progress(self) -> None:
        """Read the step counter, and take the weights' histograms if they are due."""
        new = range(self._counted_steps, self.steps)
        self._counted_steps = new.stop
        self.pending += sum(map(self._schedule, new))
        due = 0 if self._histograms is never else sum(map(self._histograms, new))
        self._pending_histograms += due
        if due:
            self._weights.append(histograms_of(self._weight_arrays(), new.stop - 1))
        self._schedule_next_check(len(new))

    def _schedule_next_check(self, steps: int) -> None:
        """Check when the next work is due, at the highest number of steps per batch so far."""
        self._steps_per_batch = max(self._steps_per_batch, -(-steps // self._batches))
        self._batches = 0
        self._next_check = -(-self._steps_to_wait() // self._steps_per_batch)

    def _steps_to_wait(self) -> int:
        """Number of steps until the next one that gives Python work."""
        remaining = 1 if self._immediate else self._capacity // 2 - self.pending
        for number, step in enumerate(
            range(self._counted_steps, self._counted_steps + MAX_UNREAD_STEPS), 1
        ):
            remaining -= self._schedule(step)
            if remaining <= 0 or self._histograms(step):
                return number
        return MAX_UNREAD_STEPS

    def collect_new(self, first: int) -> tuple[GradientHistory, list[Histograms]]:
        """The new measurements, with ``first`` added to their steps."""
        self.pending = self._pending_histograms = 0
        self._collected_steps = self._counted_steps
        history = merge_histories([probe.collect() for probe in self._probes])
        new_histograms = [*(probe.collect_histograms() for probe in self._probes), *self._weights]
        self._weights = []
        return (
            dataclasses.replace(history, steps=history.steps + first),
            [dataclasses.replace(h, steps=h.steps + first) for h in new_histograms],
        )

    def close(self) -> None:
        """Remove the hooks; the traced training step is kept for the next call of ``fit``."""
        hooked = getattr(self._model, "train_function", None)
        for probe in reversed(self._probes):
            probe.close()
        self._loss_hook.close()
        self._functions = hooked, getattr(self._model, "train_function", None)

    def can_reopen(self, model: Any, optimizers: Sequence[Any]) -> bool:
        """Whether ``reopen`` is possible: Keras would not trace the step again either.

        Whatever makes Keras trace again (``compile`` above all) replaces the model's
        ``train_function``.
        """
        hooked, unhooked = self._functions
        same_optimizers = len(optimizers) == len(self._optimizers) and all(
            new is old for new, old in zip(optimizers, self._optimizers, strict=True)
        )
        if hooked is None or self.failed is not None or model is not self._model:
            return False
        return same_optimizers and model.train_function is unhooked

    def reopen(self) -> None:
        """Continue after ``close`` with the training step that is traced already."""
        self._loss_hook.open()
        for probe in self._probes:
            probe.reopen()
        self._model.train_function = self._functions[0]

    def _weight_arrays(self) -> dict[str, Any]:
        paths = variable_paths(self._model)
        variables = self._model.trainable_variables
        return {f"weights/{paths[id(v)][1]}": v.numpy() for v in variables}


def _resolve_schedule(schedule: str | Schedule) -> Schedule:
    """The schedule itself, or the preset of that name."""
    if not isinstance(schedule, str):
        return schedule
    if schedule not in PRESETS:
        raise ValueError(f"no schedule is named {schedule!r}: choose from {', '.join(PRESETS)}")
    return PRESETS[schedule]()
