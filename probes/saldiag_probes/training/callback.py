"""The training hook: gradient norms, losses and histograms of a run, from inside its own graph."""

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
"""Measured steps in the graph before Python has to read them: 3 MB for 230 variables."""

MAX_UNREAD_STEPS = 1 << 12
"""Steps after which Python looks into the graph in any case, to move its plan on."""

OnMeasure = Callable[[GradientHistory], None]


class Watch(keras.callbacks.Callback):
    """Measures a training run under ``fit``; put it among the callbacks.

    Every optimizer of the model is watched (a GAN's several share one history). What is measured
    at a step that is not scheduled costs next to nothing. The probe leaves the model when training
    ends; ``fit`` does not tell its callbacks of an exception, so after one call ``close`` (or take
    ``measurements``, which works at any time). One Watch may see several calls of ``fit``: steps
    go on counting.

    Nothing that goes wrong here reaches the training: the probe leaves the model, training goes
    on, and ``failed`` holds the reason. The same if no optimizer step was seen.

    Args:
        schedule: at which steps to measure gradients, or a preset's name (``economy``,
            ``business``, ``full``); steps are batches, counted from 0.
        histograms: at which steps to take histograms of gradients and, after the step, weights.
        on_measure: called after a step that was measured, with what is new.

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
        """Everything measured so far: a GradientHistory and, if asked for, Histograms."""
        self._collect_new()
        self._histories = [merge_histories(self._histories)]
        found: list[Measurement] = [h for h in self._histories if h.variables]
        if self._histograms is not never:
            found.append(merge_histograms(self._histogram_parts))
        return found

    def attach(self, model: Any, optimizer: Any = None) -> None:
        """Hook into ``optimizer``, or into all of the model's, from the next step on."""
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
        """Hook into one more optimizer of the model that is watched, from its next step on.

        What its tape is asked about is no loss of the model's any more: each has its own.
        """
        session = self._session
        if session is not None:
            self._run_guarded(lambda: session.add_optimizer(optimizer))

    @property
    def steps(self) -> int:
        """Steps taken so far, measured or not; of several optimizers, by the busiest."""
        return self._steps + (self._session.steps if self._session is not None else 0)

    def close(self) -> None:
        """Leave the model as it was. What was measured stays."""
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
        """Hook into the model's optimizers."""
        self.attach(self.model)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002 - as above
        """Read what was measured, if it is wanted now or before the graph runs out of room."""
        session = self._session
        if session is None or not session.count_batch():
            return
        self._run_guarded(session.update_progress)
        if session.is_full or (session.pending and self._on_measure is not None):
            for history in self._collect_new():
                if self._on_measure is not None:
                    self._on_measure(history)

    def on_train_end(self, logs: Any = None) -> None:  # noqa: ARG002 - as above
        """Leave the model; a run without a step of the optimizer counts as failed."""
        session = self._session
        self.close()
        if session is not None and not session.steps and self.failed is None:
            self.failed = (
                "no optimizer step was seen: nothing is trainable, or the training step was "
                "traced before fit or does not call the optimizer's apply"
            )

    def _collect_new(self) -> list[GradientHistory]:
        """Take what is new out of the graph; returned as none or one history."""
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
        """Run ``action``; on an error leave the model and remember why."""
        try:
            action()
        except Exception as error:  # a probe must never break the training
            reraise_interrupt(error)
            first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
            known = isinstance(error, SaldiagError)
            self.failed = first_line if known else f"the training hook failed: {first_line}"
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
    """Watch a custom training loop: whatever calls the optimizer's ``apply`` in the block.

    A ``tf.function`` around the training step has to be called for the first time inside the
    block. The loss is that of ``model.compute_loss`` where the loop calls it, or else the target of
    ``tape.gradient``; histograms are those of gradients, and nothing but the last steps of a long
    loop is kept unless ``measurements`` is called from time to time.
    """
    hook = Watch(schedule, histograms)
    hook.attach(model, optimizer)
    try:
        yield hook
    finally:
        hook.close()


class _Session:
    """The probes on one model, from attaching to leaving; its steps count from 0."""

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
        self._functions: tuple[Any, Any] = (None, None)
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
        """Watch one more optimizer."""
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
        """Steps taken; of several optimizers, by the busiest."""
        return max((probe.steps_taken for probe in self._probes), default=0)

    @property
    def failed(self) -> str | None:
        """Why one of the probes gave up."""
        return next((probe.failed for probe in self._probes if probe.failed), None)

    @property
    def is_full(self) -> bool:
        """Whether Python should read now, lest something is lost or not planned."""
        return (
            self.pending >= self._capacity // 2
            or self._pending_histograms >= HISTOGRAM_CAPACITY // 2
            or self._counted_steps - self._collected_steps >= MAX_UNREAD_STEPS
        )

    def count_batch(self) -> bool:
        """Count a batch; whether to ``look`` now: asking the graph costs more than a small step."""
        self._batches += 1
        return self._batches >= self._next_check

    def update_progress(self) -> None:
        """See how far the steps are, and take the weights' histograms where they are due."""
        new = range(self._counted_steps, self.steps)
        self._counted_steps = new.stop
        self.pending += sum(map(self._schedule, new))
        due = 0 if self._histograms is never else sum(map(self._histograms, new))
        self._pending_histograms += due
        if due:
            self._weights.append(histograms_of(self._weight_arrays(), new.stop - 1))
        self._schedule_next_check(len(new))

    def _schedule_next_check(self, steps: int) -> None:
        """Look when the next thing to read has happened, as fast as steps came at the fastest."""
        self._steps_per_batch = max(self._steps_per_batch, -(-steps // self._batches))
        self._batches = 0
        self._next_check = -(-self._steps_to_wait() // self._steps_per_batch)

    def _steps_to_wait(self) -> int:
        """Steps up to the next that Python has work at."""
        room = 1 if self._immediate else self._capacity // 2 - self.pending
        for number, step in enumerate(
            range(self._counted_steps, self._counted_steps + MAX_UNREAD_STEPS), 1
        ):
            room -= self._schedule(step)
            if room <= 0 or self._histograms(step):
                return number
        return MAX_UNREAD_STEPS

    def collect_new(self, first: int) -> tuple[GradientHistory, list[Histograms]]:
        """What is new, with ``first`` added to its steps."""
        self.pending = self._pending_histograms = 0
        self._collected_steps = self._counted_steps
        history = merge_histories([probe.collect() for probe in self._probes])
        taken = [*(probe.collect_histograms() for probe in self._probes), *self._weights]
        self._weights = []
        return (
            dataclasses.replace(history, steps=history.steps + first),
            [dataclasses.replace(h, steps=h.steps + first) for h in taken],
        )

    def close(self) -> None:
        """Leave the model; its traced training step is kept for the next call of ``fit``."""
        watched = getattr(self._model, "train_function", None)
        for probe in reversed(self._probes):
            probe.close()
        self._loss_hook.close()
        self._functions = watched, getattr(self._model, "train_function", None)

    def can_reopen(self, model: Any, optimizers: Sequence[Any]) -> bool:
        """Whether to ``reopen``: Keras would not trace the step again either.

        Whatever makes it do so (``compile`` above all) replaces the function that was left.
        """
        watched, left = self._functions
        same = len(optimizers) == len(self._optimizers) and all(
            one is other for one, other in zip(optimizers, self._optimizers, strict=True)
        )
        known = watched is not None and self.failed is None
        return known and same and model is self._model and model.train_function is left

    def reopen(self) -> None:
        """Go on after ``close``, with the training step that is traced already."""
        self._loss_hook.open()
        for probe in self._probes:
            probe.reopen()
        self._model.train_function = self._functions[0]

    def _weight_arrays(self) -> dict[str, Any]:
        paths = variable_paths(self._model)
        variables = self._model.trainable_variables
        return {f"weights/{paths[id(v)][1]}": v.numpy() for v in variables}


def _resolve_schedule(schedule: str | Schedule) -> Schedule:
    if not isinstance(schedule, str):
        return schedule
    if schedule not in PRESETS:
        raise ValueError(f"no schedule {schedule!r}: there are {', '.join(PRESETS)}")
    return PRESETS[schedule]()
