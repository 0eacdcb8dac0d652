"""The training hook: gradient norms, losses and histograms, computed in the run's own graph."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import keras

from saldiag.core.errors import SaldiagError
from saldiag.core.interrupts import reraise_interrupt
from saldiag.core.keras_types import KerasModel, KerasOptimizer
from saldiag.core.measurement import GradientHistory, Histograms, Measurement
from saldiag.core.training.schedule import Schedule, never, resolve_schedule
from saldiag_probes.hooks.batch_tap import BatchTap
from saldiag_probes.state.optimizers import optimizers_of
from saldiag_probes.training.first_step import run_first_step
from saldiag_probes.training.histograms import merge_histograms
from saldiag_probes.training.hook_session import HookSession
from saldiag_probes.training.merge_histories import merge_histories

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
        self._schedule = resolve_schedule(schedule)
        self._histograms = histograms
        self._on_measure = on_measure
        self._session: HookSession | None = None
        self._last: HookSession | None = None
        self._histories: list[GradientHistory] = []
        self._histogram_parts: list[Histograms] = []
        self._steps = 0
        self._tap: BatchTap | None = None
        self.failed: str | None = None

    def measurements(self) -> list[Measurement]:
        """Everything measured so far: a GradientHistory and, if scheduled, Histograms."""
        self._collect_new()
        self._histories = [merge_histories(self._histories)]
        measurements: list[Measurement] = [h for h in self._histories if h.variables]
        if self._histograms is not never:
            measurements.append(merge_histograms(self._histogram_parts))
        return measurements

    def attach(self, model: KerasModel, optimizer: KerasOptimizer | None = None) -> None:
        """Install the hooks on ``optimizer``, or on all of the model's optimizers, from now on.

        Args:
            model: the model.
            optimizer: the one optimizer to measure; all of the model's if None.
        """
        self.close()
        self.failed = None
        optimizers = list(optimizers_of(model).values()) if optimizer is None else [optimizer]
        last, self._last = self._last, None
        if last is not None and last.can_reopen(model, optimizers):
            self._run_guarded(lambda: self._resume_session(last))
            return
        first, histograms = self._steps, self._histograms

        def open_session() -> None:
            self._session = HookSession(
                model,
                optimizers,
                schedule=lambda step: self._schedule(first + step),
                histograms=never if histograms is never else lambda step: histograms(first + step),
                immediate=self._on_measure is not None,
            )

        self._run_guarded(open_session)

    def add_optimizer(self, optimizer: KerasOptimizer) -> None:
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

    def withdraw(self, reason: str) -> None:
        """Remove the hooks for good; ``failed`` holds the reason."""
        self.failed = reason
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def guard_first_step(self, tap: BatchTap, model: KerasModel) -> None:
        """Repeat the first step without the hooks if XLA cannot compile it with them.

        Args:
            tap: buffers the batch of that step; attached to the model's train function.
            model: the model.
        """

        def withdraw(reason: str) -> None:
            tap.detach()  # to trace the model's own function again
            self.withdraw(reason)
            tap.attach(model)

        def run(function: Callable[[Any], Any], make_iterator: Callable[[], Any]) -> Any:
            tap.run = plain_run
            return run_first_step(
                lambda: function(make_iterator()),
                withdraw,
                lambda: tap.original(make_iterator()),
            )

        plain_run = tap.run
        if getattr(model, "jit_compile", False):
            tap.run = run

    def _resume_session(self, session: HookSession) -> None:
        session.reopen()
        self._steps -= session.steps
        self._session = session

    def on_train_begin(self, logs: Any = None) -> None:  # noqa: ARG002 - Keras' signature
        """Install the hooks on the model's optimizers."""
        self.attach(self.model)
        if self._session is not None and getattr(self.model, "jit_compile", False):
            self._tap = BatchTap("train_function", max_batches=1)
            self.guard_first_step(self._tap, self.model)
            self._tap.attach(self.model)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002 - as above
        """Read new measurements if they are due, or before the graph runs out of room."""
        if self._tap is not None:
            self._close_tap()
        session = self._session
        if session is None or not session.count_batch():
            return
        self._run_guarded(session.update_progress)
        if session.is_full or (session.pending and self._on_measure is not None):
            for history in self._collect_new():
                if self._on_measure is not None:
                    self._on_measure(history)

    def _close_tap(self) -> None:
        tap, self._tap = self._tap, None
        if tap is not None:
            tap.detach()

    def on_train_end(self, logs: Any = None) -> None:  # noqa: ARG002 - as above
        """Remove the hooks; a run without an optimizer step counts as failed."""
        session = self._session
        self._close_tap()
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
    model: KerasModel,
    optimizer: KerasOptimizer | None = None,
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
