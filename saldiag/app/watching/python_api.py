"""Watching from Python: ``Watch``, a callback for ``fit``, and ``watch``, for custom loops."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras

from saldiag.app.loading.fit_arguments import first_batches
from saldiag.app.loading.subject import Subject
from saldiag.app.session.collector import Collector
from saldiag.app.session.result import Diagnosis, diagnose_collected, parse_rule_choice
from saldiag.app.watching.fit_watcher import FitWatcher
from saldiag.app.watching.guard import guarded, working_quietly
from saldiag.app.watching.initial_values import preserved_model
from saldiag.app.watching.model_record import ProgramLines
from saldiag.app.watching.options import WatchOptions
from saldiag.app.watching.single_loop import LoopObserver
from saldiag.app.watching.watched_model import WatchedModel
from saldiag.core.errors import DataError
from saldiag.core.keras_types import KerasModel
from saldiag.core.measurement import GradientHistory, Measurement, SourceFiles
from saldiag.core.training.fit_plan import FitPlan
from saldiag.core.training.schedule import Schedule, resolve_schedule
from saldiag.subject.data.fit_batches import plan_of_fit
from saldiag.subject.program.fit_frame import arguments_of_fit
from saldiag.subject.program.source_snapshot import SourceSnapshot

NO_OPTIMIZER_STEP = (
    "no optimizer step was seen: the block takes none, or takes it in a tf.function that was traced"
    " before the block"
)
"""Why a watched loop has no gradient history."""


class Watch(keras.callbacks.Callback):
    """Callback that measures a training; put it among the callbacks of ``fit``.

    Before the first step it examines wiring, labels and ranges on the first batches that ``fit``
    draws, of any kind of data; nothing is drawn twice. ``diagnosis()`` returns the findings, during
    the training and after it. One Watch can serve several calls of ``fit`` of one model; steps
    continue counting. With another model it starts again.

    Args:
        data: data to examine in place of the data of ``fit``, in any form that ``diagnose``
            accepts.
        schedule: the steps to measure: ``economy``, ``business``, ``full``, or a function of the
            step.
        select: rules to apply: codes, code prefixes or names; None for all rules.
        ignore: rules to leave out, in the same form.

    Raises:
        ValueError: there is no schedule of that name.
        SaldiagError: ``select`` or ``ignore`` names a rule that does not exist.
    """

    def __init__(
        self,
        data: Any = None,
        schedule: str | Schedule = "economy",
        *,
        select: str | Sequence[str] | None = None,
        ignore: str | Sequence[str] = (),
    ) -> None:
        super().__init__()
        self._data = data
        self._options = WatchOptions(probes=resolve_schedule(schedule))
        self._choice = parse_rule_choice(select, ignore)
        self._collector = Collector(self._choice)
        self._watched: WatchedModel | None = None
        self._watcher: FitWatcher | None = None

    @property
    def failed(self) -> str | None:
        """Why gradients are no longer measured; None while they are."""
        return self._watched.watch.failed if self._watched is not None else None

    @property
    def steps(self) -> int:
        """Steps taken so far, measured or not."""
        return self._watched.watch.steps if self._watched is not None else 0

    def diagnosis(self) -> Diagnosis:
        """The diagnosis of the measurements so far."""
        watched = self._watched
        if watched is None:
            return diagnose_collected(self._collector, None)
        with working_quietly():
            return Diagnosis(watched.diagnosis_so_far(), self._collector.measured)

    def measurements(self) -> list[Measurement]:
        """All measurements so far."""
        return list(self.diagnosis().measured)

    def close(self) -> None:
        """Remove the hooks; call this after an exception in ``fit``. The measurements stay."""
        watcher, self._watcher = self._watcher, None
        if watcher is not None and self._watched is not None:
            watcher.examine_buffered()
            self._watched.end_training()

    def on_train_begin(self, logs: Any = None) -> None:
        """Install the hooks, and buffer the first batches if the model is new."""
        self.close()
        watched = self._watched
        if watched is None or watched.model is not self.model:
            watched = self._watched = self._start_watching()
        plan = guarded(self._plan_of_fit, lambda _: None) or FitPlan()
        if self._data is not None and not watched.record.is_examined:
            guarded(lambda: self._examine_data(plan), lambda _: None)
        self._watcher = FitWatcher(watched, plan)
        self._watcher.set_model(self.model)
        self._watcher.set_params(self.params)
        self._watcher.on_train_begin(logs)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Count the step, and read new measurements if they are due."""
        if self._watcher is not None:
            self._watcher.on_train_batch_end(batch, logs)

    def on_test_begin(self, logs: Any = None) -> None:
        """Start buffering the first validation batches."""
        if self._watcher is not None:
            self._watcher.on_test_begin(logs)

    def on_test_end(self, logs: Any = None) -> None:
        """Restore the model's test function."""
        if self._watcher is not None:
            self._watcher.on_test_end(logs)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Record the curves, and check the validation if a check is due."""
        if self._watcher is not None:
            self._watcher.on_epoch_end(epoch, logs)

    def on_train_end(self, logs: Any = None) -> None:
        """Remove the hooks, and compare the trainable flags with the updates."""
        if self._watcher is not None and self._watched is not None:
            self._watcher.on_train_end(logs)
            self.close()
            self._watched.measure_items(read_again=False)

    def _start_watching(self) -> WatchedModel:
        self._collector = Collector(self._choice)
        self._collector.try_measuring(SourceFiles, SourceSnapshot().source_files)
        return WatchedModel(
            self._collector, self._subject_of(self.model), ProgramLines(), self._options
        )

    def _subject_of(self, model: KerasModel) -> Subject:
        """The model with what is known about it."""
        return Subject(model)

    def _plan_of_fit(self) -> FitPlan:
        arguments = arguments_of_fit(self.model)
        return FitPlan() if arguments is None else plan_of_fit(arguments)

    def _examine_data(self, plan: FitPlan) -> None:
        """Examine the model on the data that the user has named."""
        watched = self._watched
        assert watched is not None
        try:
            with preserved_model(self.model):
                batches, _ = first_batches(self.model, self._data)
        except DataError as error:
            watched.mark_data_unreadable(str(error))
            watched.examine_guarded(lambda: None)
            return
        watched.examine_first_batch(batches[0], plan)
        watched.examine_batches(batches)


class WatchedLoop:
    """A custom loop under observation; ``watch`` yields it."""

    def __init__(self, observer: LoopObserver, collector: Collector, model: KerasModel) -> None:
        self._observer, self._collector, self._model = observer, collector, model

    def diagnosis(self) -> Diagnosis:
        """The diagnosis of the measurements so far, inside the block and after it."""
        with working_quietly():
            watched = self._observer.watched_model()
            self._observer.examine_pending_steps()
            if not watched.record.steps:
                self._collector.mark_missing(GradientHistory, NO_OPTIMIZER_STEP)
            return Diagnosis(watched.diagnosis_so_far(), self._collector.measured)

    def measurements(self) -> list[Measurement]:
        """All measurements so far."""
        return list(self.diagnosis().measured)

    @property
    def failed(self) -> str | None:
        """Why gradients are no longer measured; None while they are."""
        return self._observer.watched_model().watch.failed

    def examine_data(self, data: Any) -> None:
        """Examine the data before the loop, and the model if it is compiled.

        Args:
            data: data of the loop, in any form that ``diagnose`` accepts.
        """
        watched = self._observer.watched_model()
        try:
            batches, plan = first_batches(self._model, data)
        except DataError as error:
            watched.mark_data_unreadable(str(error))
            return
        self._observer.name_batches(batches)
        if getattr(self._model, "compiled", False):
            watched.examine_first_batch(batches[0], plan)
            watched.examine_batches(batches)

    def end_training(self) -> None:
        """End the measuring at the end of the block."""
        self._observer.end_trainings()


@contextlib.contextmanager
def watch(
    model: KerasModel,
    optimizer: Any = None,
    *,
    data: Any = None,
    schedule: str | Schedule = "economy",
    select: str | Sequence[str] | None = None,
    ignore: str | Sequence[str] = (),
) -> Iterator[WatchedLoop]:
    """Watch a custom training loop: every call of the optimizer's ``apply`` inside the block.

    The inputs of the model and the gradients of the loss are taken from the first step; the target
    of ``tape.gradient`` is taken as the loss. A ``tf.function`` around the training step must be
    called for the first time inside the block.

    Args:
        model: the model that the loop trains, compiled or not.
        optimizer: the optimizer whose steps to watch; None for all that train the model.
        data: data of the loop, in any form that ``diagnose`` accepts, for examining the targets;
            None if only the inputs of the first step are examined.
        schedule: the steps to measure: ``economy``, ``business``, ``full``, or a function of the
            step.
        select: rules to apply: codes, code prefixes or names; None for all rules.
        ignore: rules to leave out, in the same form.

    Yields:
        The loop, with ``diagnosis()`` and ``measurements()``.

    Raises:
        ValueError: there is no schedule of that name.
    """
    collector = Collector(parse_rule_choice(select, ignore))
    options = WatchOptions(probes=resolve_schedule(schedule))
    observer = LoopObserver(model, optimizer, options, collector)
    loop = WatchedLoop(observer, collector, model)
    if data is not None:
        loop.examine_data(data)
    with observer.observing():
        try:
            yield loop
        finally:
            loop.end_training()
