"""Watching from Python: ``Watch``, a callback for ``fit``, and ``watch``, for custom loops."""

from __future__ import annotations

import contextlib
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from saldiag.app.examine.examination import Examination
from saldiag.app.loading.fit_arguments import first_batches, read_feed
from saldiag.app.loading.subject import Batches, Subject
from saldiag.app.program.options import WatchOptions
from saldiag.app.program.single_loop import LoopObserver
from saldiag.app.program.watched_model import WatchedModel
from saldiag.app.session.collector import Collector, error_line
from saldiag.app.session.result import Diagnosis, diagnose_collected, parse_rule_choice
from saldiag.core.errors import DataError
from saldiag.core.interrupts import reraise_interrupt
from saldiag.core.measurement import (
    GradientHistory,
    Measurement,
    SourceFiles,
    TrainableStatus,
    ValidationCheck,
)
from saldiag.core.training.fit_plan import FitPlan
from saldiag.core.training.schedule import Schedule
from saldiag.experiments.overfit.mode_errors import Batch, ModeErrors
from saldiag.experiments.validation.callback import ValidationWatch
from saldiag.rules.shared.gradient_cut import without_any_gradient
from saldiag.subject.program.fit_frame import arguments_of_fit
from saldiag.subject.program.keras_hooks import keras_hooked
from saldiag.subject.program.source_snapshot import SourceSnapshot
from saldiag_probes.training import callback as probes
from saldiag_probes.training.gradient_tape import subscribed_to_tapes

NO_OPTIMIZER_STEP = (
    "no step of the optimizer was seen: the block takes none, or takes it in a tf.function that was"
    " called before the block"
)
"""Why a watched loop has no gradient history."""


def _batches_of_fit(model: Any) -> tuple[tuple[tuple[Any, ...], ...], FitPlan]:
    """The first batches of the ``fit`` that is running, and its plan.

    Raises:
        DataError: the arguments of ``fit`` are unknown, or can be read only once.
    """
    arguments = arguments_of_fit(model)
    if arguments is None or isinstance(arguments.get("x"), types.GeneratorType):
        raise DataError("the training data are not known: give them to Watch(data)")
    feed = read_feed(model, arguments)
    return feed.batches, feed.plan


class Watch(probes.Watch):
    """Callback that measures a training; put it among the callbacks of ``fit``.

    Before the first step it examines wiring, labels and ranges on the first batches of the data.
    ``diagnosis()`` returns the findings, during the training and after it.

    Args:
        data: data to examine in place of the data of ``fit``, in any form that ``diagnose``
            accepts. The batches of a generator cannot be examined, since it can be read only once:
            without ``data`` only gradients and updates are measured.
        schedule: the steps to measure: ``economy``, ``business``, ``full``, or a function of the
            step.
        select: rules that judge: codes, prefixes of codes or names; None for all rules.
        ignore: rules that do not judge, likewise.

    Raises:
        ValueError: there is no schedule of that name.
    """

    def __init__(
        self,
        data: Any = None,
        schedule: str | Schedule = "economy",
        *,
        select: str | Sequence[str] | None = None,
        ignore: str | Sequence[str] = (),
    ) -> None:
        super().__init__(schedule)
        self._data = data
        self._collector = Collector(parse_rule_choice(select, ignore))
        self._examination: Examination | None = None
        self._validation = ValidationWatch(self._validation_subject)

    def _validation_subject(self) -> tuple[ModeErrors, Sequence[Batch]] | None:
        examination = self._examination
        return (
            (examination.mode_errors, examination.data.batches) if examination is not None else None
        )

    def on_train_begin(self, logs: Any = None) -> None:
        """Examine the model and its data, and start measuring."""
        super().on_train_begin(logs)
        self._validation.set_model(self.model)
        self._validation.set_params(self.params)
        plan = self._examination.plan if self._examination is not None else None
        others = plan.callbacks if plan is not None else ()
        self._validation.others = [one for one in others if one is not self]
        self._validation.on_train_begin(logs)

    def on_test_begin(self, logs: Any = None) -> None:
        """Start buffering the first validation batches."""
        self._validation.on_test_begin(logs)

    def on_test_end(self, logs: Any = None) -> None:
        """Restore the model's test function."""
        self._validation.on_test_end(logs)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Record the curves, and check the validation if a check is due."""
        self._validation.on_epoch_end(epoch, logs)

    def attach(self, model: Any, optimizer: Any = None) -> None:
        """Examine the model if it is new, and measure the steps of its optimizers from now on.

        Args:
            model: the model that is trained.
            optimizer: its optimizer; None for the compiled one.
        """
        if self._examination is None:
            under_fit = getattr(model, "train_function", None) is not None
            self._examine_model(model)
            # Restoring an optimizer that was not built before deletes the train function.
            if under_fit and model.train_function is None:
                model.make_train_function()
        super().attach(model, optimizer)

    def on_train_end(self, logs: Any = None) -> None:
        """Stop measuring, and compare the trainable flags with the updates."""
        self._validation.on_train_end(logs)
        super().on_train_end(logs)
        history = self._latest_history()
        if self._examination is not None and self._examination.data.batches:
            self._run_guarded(lambda: self._require_examination().measure_trainability(history))
            self._run_guarded(self._require_examination().measure_training_plan)

    def diagnosis(self) -> Diagnosis:
        """The diagnosis of the measurements so far.

        Raises:
            SaldiagError: ``select`` or ``ignore`` names a rule that does not exist.
        """
        history = self._latest_history()
        stuck = (self._examination is not None and self._examination.no_gradient()) or (
            history is not None and without_any_gradient(history)
        )
        return diagnose_collected(self._collector, "does_not_learn" if stuck else None)

    def _examine_model(self, model: Any) -> None:
        self._collector.try_measuring(SourceFiles, SourceSnapshot().source_files)
        batches, plan = self._batches_and_plan(model)
        subject = self._subject_of(model)
        self._examination = Examination(self._collector, subject, Batches(batches), plan)
        if batches:
            self._run_guarded(self._require_examination().survey)
            if getattr(model, "compiled", False):
                self._run_guarded(self._require_examination().examine_data)

    def _subject_of(self, model: Any) -> Subject:
        """The model with what is known about it."""
        return Subject(model)

    def _batches_and_plan(self, model: Any) -> tuple[tuple[tuple[Any, ...], ...], FitPlan | None]:
        """The first batches of the data, and the plan; no batches if the data cannot be read."""
        try:
            return (
                _batches_of_fit(model) if self._data is None else first_batches(model, self._data)
            )
        except Exception as error:  # any error of the data, which fit will raise again
            self._collector.mark_missing(TrainableStatus, error_line(error))
            return (), None

    def _require_examination(self) -> Examination:
        assert self._examination is not None
        return self._examination

    def _run_guarded(self, action: Callable[[], object]) -> None:
        try:
            action()
        except Exception as error:  # a probe must never break the training
            reraise_interrupt(error)
            self._collector.mark_missing(TrainableStatus, error_line(error))

    def _latest_history(self) -> GradientHistory | None:
        """The gradient history so far; None before the model is examined."""
        if self._examination is None:
            return None
        self._collector.add(*self._validation.measurements())
        self._collector.mark_missing(ValidationCheck, self._validation.reason)
        return self._examination.collect_history(self)


class WatchedLoop:
    """A custom loop under observation; ``watch`` yields it."""

    def __init__(self, observer: LoopObserver, collector: Collector, model: Any) -> None:
        self._observer, self._collector, self._model = observer, collector, model

    def diagnosis(self) -> Diagnosis:
        """The diagnosis of the measurements so far, inside the block and after it."""
        with self._observer.working_quietly():
            watched = self._watched_model()
            if not watched.steps:
                self._collector.mark_missing(GradientHistory, NO_OPTIMIZER_STEP)
            return Diagnosis(watched.diagnosis_so_far(), self._collector.measured)

    def measurements(self) -> list[Measurement]:
        """All measurements so far."""
        return list(self.diagnosis().measured)

    @property
    def failed(self) -> str | None:
        """Why gradients are no longer measured; None while they are."""
        return self._watched_model().watch.failed

    def examine_data(self, data: Any) -> None:
        """Examine the data before the loop, and the model if it is compiled.

        Args:
            data: data of the loop, in any form that ``diagnose`` accepts.
        """
        watched = self._watched_model()
        try:
            watched.known_batches, plan = first_batches(self._model, data)
        except DataError as error:
            watched.mark_data_unreadable(str(error))
            return
        if getattr(self._model, "compiled", False):
            watched.examine_model(watched.known_batches, plan)

    def end_training(self) -> None:
        """End the measuring at the end of the block."""
        with self._observer.working_quietly():
            self._watched_model().end_training()

    def _watched_model(self) -> WatchedModel:
        watched = self._observer.watched_model_of(self._model) or self._observer.start_watching(
            self._model, None
        )
        assert watched is not None
        return watched


@contextlib.contextmanager
def watch(
    model: Any,
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
        select: rules that judge: codes, prefixes of codes or names; None for all rules.
        ignore: rules that do not judge, likewise.

    Yields:
        The loop, with ``diagnosis()`` and ``measurements()``.

    Raises:
        ValueError: there is no schedule of that name.
    """
    collector = Collector(parse_rule_choice(select, ignore))
    observer = LoopObserver(model, optimizer, WatchOptions(probes=schedule), collector)
    loop = WatchedLoop(observer, collector, model)
    if data is not None:
        loop.examine_data(data)
    with keras_hooked(observer), subscribed_to_tapes(observer.first_calls):
        try:
            yield loop
        finally:
            loop.end_training()
