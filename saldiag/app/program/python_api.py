"""Trainings watched from Python: ``Watch``, a callback, and ``watch``, for a loop of one's own."""

from __future__ import annotations

import contextlib
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from saldiag.app.examine.examination import Examination
from saldiag.app.program.options import WatchOptions
from saldiag.app.program.single_loop import LoopObserver
from saldiag.app.program.watched_model import Watched
from saldiag.app.session.collector import Collector, one_line
from saldiag.app.session.result import Diagnosis, chosen_rules, judged
from saldiag.app.subject.fit_arguments import first_batches, read_feed
from saldiag.app.subject.subject import Batches, Subject
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

NO_STEP = (
    "no step of the optimizer was seen: the block has none, or it is in a tf.function that was"
    " called before the block"
)


def _of_fit(model: Any) -> tuple[tuple[tuple[Any, ...], ...], FitPlan]:
    """The first batches of what ``fit``, which is running, was given."""
    arguments = arguments_of_fit(model)
    if arguments is None or isinstance(arguments.get("x"), types.GeneratorType):
        raise DataError("what the model is trained on is not known: say Watch(data)")
    feed = read_feed(model, arguments)
    return feed.batches, feed.plan


class Watch(probes.Watch):
    """Measures a training under ``fit``: put it among the callbacks.

    ``diagnosis()`` tells what was found, during the training and after it. Wiring, labels and
    ranges are looked at before the first step, on the first batches of what ``fit`` was given.

    Args:
        data: what to look at instead, as ``diagnose`` takes it. A generator, which can be read
            but once, cannot be looked into: without ``data`` gradients and updates are all that
            is measured there.
        schedule: at which steps to measure, or ``economy``, ``business``, ``full``.
        select: rules that judge; default: all.
        ignore: rules that do not.

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
        self._collector = Collector(chosen_rules(select, ignore))
        self._examination: Examination | None = None
        self._validation = ValidationWatch(self._validated)

    def _validated(self) -> tuple[ModeErrors, Sequence[Batch]] | None:
        examination = self._examination
        return (examination.errors, examination.data.batches) if examination is not None else None

    def on_train_begin(self, logs: Any = None) -> None:
        """Look at the model and what it is trained on, and hook into it."""
        super().on_train_begin(logs)
        self._validation.set_model(self.model)
        self._validation.set_params(self.params)
        plan = self._examination.plan if self._examination is not None else None
        others = plan.callbacks if plan is not None else ()
        self._validation.others = [one for one in others if one is not self]
        self._validation.on_train_begin(logs)

    def on_test_begin(self, logs: Any = None) -> None:
        """Buffer the first batches that validation draws."""
        self._validation.on_test_begin(logs)

    def on_test_end(self, logs: Any = None) -> None:
        """Leave the model's test function."""
        self._validation.on_test_end(logs)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Keep the curves, and check the validation where it is due."""
        self._validation.on_epoch_end(epoch, logs)

    def attach(self, model: Any, optimizer: Any = None) -> None:
        """Look at the model, and hook into its optimizers, from the next step on."""
        if self._examination is None:
            under_fit = getattr(model, "train_function", None) is not None
            self._look(model)
            if under_fit and model.train_function is None:  # an optimizer was put back to unbuilt
                model.make_train_function()
        super().attach(model, optimizer)

    def on_train_end(self, logs: Any = None) -> None:
        """Leave the model, and compare what was declared with what happened."""
        self._validation.on_train_end(logs)
        super().on_train_end(logs)
        history = self._history()
        if self._examination is not None and self._examination.data.batches:
            self._quietly(lambda: self._examined().trainable(history))
            self._quietly(self._examined().look_ahead)

    def diagnosis(self) -> Diagnosis:
        """What the rules say of what was measured so far."""
        history = self._history()
        stuck = (self._examination is not None and self._examination.no_gradient()) or (
            history is not None and without_any_gradient(history)
        )
        return judged(self._collector, "does_not_learn" if stuck else None)

    def _look(self, model: Any) -> None:
        self._collector.attempt(SourceFiles, SourceSnapshot().source_files)
        batches, plan = self._given(model)
        subject = self._subject(model)
        self._examination = Examination(self._collector, subject, Batches(batches), plan)
        if batches:
            self._quietly(self._examined().survey)
            if getattr(model, "compiled", False):
                self._quietly(self._examined().look_at_data)

    def _subject(self, model: Any) -> Subject:
        """The model with what is known of it."""
        return Subject(model)

    def _given(self, model: Any) -> tuple[tuple[tuple[Any, ...], ...], FitPlan | None]:
        """The first batches of the data, and the plan; none where there is nothing to look into."""
        try:
            return _of_fit(model) if self._data is None else first_batches(model, self._data)
        except Exception as error:  # whatever the data raises: fit will tell
            self._collector.missing(TrainableStatus, one_line(error))
            return (), None

    def _examined(self) -> Examination:
        assert self._examination is not None
        return self._examination

    def _quietly(self, action: Callable[[], object]) -> None:
        try:
            action()
        except Exception as error:  # a probe must never break the training
            reraise_interrupt(error)
            self._collector.missing(TrainableStatus, one_line(error))

    def _history(self) -> GradientHistory | None:
        """What was measured so far; before a model is looked at there is nothing."""
        if self._examination is None:
            return None
        self._collector.add(*self._validation.measurements())
        self._collector.missing(ValidationCheck, self._validation.reason)
        return self._examination.collect(self)


class WatchedLoop:
    """A loop under observation: what ``watch`` hands to its block."""

    def __init__(self, observer: LoopObserver, collector: Collector, model: Any) -> None:
        self._observer, self._collector, self._model = observer, collector, model

    def diagnosis(self) -> Diagnosis:
        """What the rules say of what was measured so far, in the block and after it."""
        with self._observer.at_work():
            watched = self._watched()
            if not watched.steps:
                self._collector.missing(GradientHistory, NO_STEP)
            return Diagnosis(watched.so_far(), self._collector.measured)

    def measurements(self) -> list[Measurement]:
        """All that was measured so far."""
        return list(self.diagnosis().measured)

    @property
    def failed(self) -> str | None:
        """Why gradients are not measured any more; None while they are."""
        return self._watched().watch.failed

    def look(self, data: Any) -> None:
        """Look at model and data before the loop, as far as the model's own loss allows."""
        watched = self._watched()
        try:
            watched.known, plan = first_batches(self._model, data)
        except DataError as error:
            watched.without_data(str(error))
            return
        if getattr(self._model, "compiled", False):
            watched.look(watched.known, plan)

    def ended(self) -> None:
        """The block is over."""
        with self._observer.at_work():
            self._watched().trained()

    def _watched(self) -> Watched:
        watched = self._observer.current(self._model) or self._observer.begin(self._model, None)
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
    """Watch a training loop of one's own: whatever calls the optimizer's ``apply`` in the block.

    The first step tells what the model is called on, and the gradient of the loss: that is what a
    tape is asked about. A ``tf.function`` around the training step has to be called for the first
    time in the block.

    Args:
        model: the model that the loop trains, compiled or not.
        optimizer: the one whose steps are watched; every one that trains the model if None.
        data: what the loop trains on, as ``diagnose`` takes it, so that targets can be looked at.
        schedule: at which steps to measure, or ``economy``, ``business``, ``full``.
        select: rules that judge; default: all.
        ignore: rules that do not.

    Raises:
        ValueError: there is no schedule of that name.
    """
    collector = Collector(chosen_rules(select, ignore))
    observer = LoopObserver(model, optimizer, WatchOptions(probes=schedule), collector)
    loop = WatchedLoop(observer, collector, model)
    if data is not None:
        loop.look(data)
    with keras_hooked(observer), subscribed_to_tapes(observer.first_calls):
        try:
            yield loop
        finally:
            loop.ended()
