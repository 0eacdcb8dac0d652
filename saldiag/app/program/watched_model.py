"""One model of a program: looked at before its first step, watched while it trains."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from saldiag.app.examine.examination import Examination
from saldiag.app.examine.experiments import experiment
from saldiag.app.program.first_step import AsSeen
from saldiag.app.program.options import WatchOptions
from saldiag.app.session.collector import Collector, one_line
from saldiag.app.subject.subject import Batches, Subject
from saldiag.core.findings.diagnosis import Diagnosis, Verdict
from saldiag.core.interrupts import reraise_interrupt
from saldiag.core.measurement import (
    Activations,
    DataFacts,
    Experiments,
    GradientFlow,
    GradientHistory,
    ItemFacts,
    LossCheck,
    Measurement,
    OverfitHistory,
    ProgramPlaces,
    Source,
    TrainableStatus,
    ValidationCheck,
    Wiring,
)
from saldiag.core.training.fit_plan import FitPlan
from saldiag.core.training.schedule import logarithmic
from saldiag.experiments.overfit.mode_errors import Batch, ModeErrors
from saldiag.experiments.validation.callback import ValidationWatch
from saldiag.rules.shared.gradient_cut import without_any_gradient
from saldiag_probes.state.isolation import preserved_state
from saldiag_probes.training.callback import Watch

LOOK_EVERY = 2.0
"""Seconds between two looks at a training that is to stop early."""

NO_TARGETS = "the targets of a custom loop are not known"

NO_DATA = "the data that the program trains on could not be read: {reason}"


@dataclass(frozen=True)
class Places:
    """Where in the program the model is compiled, and where it is trained."""

    compiled: Source | None = None
    trained: Source | None = None


class Watched:
    """A model under observation. Whatever goes wrong in here becomes a reason, never an error."""

    def __init__(
        self,
        session: Collector,
        subject: Subject,
        places: Places,
        options: WatchOptions,
        learnt: Container[Any] = (),
    ) -> None:
        self.session, self.subject, self.options = session, subject, options
        self.name = subject.name or subject.model.name
        self.steps = self.before = 0
        self.watch = Watch(options.probes, logarithmic(2))
        self.validation = ValidationWatch(self._validated)
        self._places = places
        self._learnt = learnt
        self._examination: Examination | None = None
        self._collected: int | None = None
        self._broken_off = False
        self._looked = time.monotonic()
        self.optimizer: Any = None
        self.seen = False
        self.first_step: Callable[[], None] | None = None
        self.takes_turns = False
        self.graph: Any = None
        self.known: tuple[tuple[Any, ...], ...] = ()
        self._add_places()

    def _validated(self) -> tuple[ModeErrors, Sequence[Batch]] | None:
        """What measures errors in both modes, and batches that the model trains on."""
        examination = self._examination
        if examination is None or not getattr(self.model, "compiled", False):
            return None
        return examination.errors, examination.data.batches

    @property
    def model(self) -> Any:
        """The user's model."""
        return self.subject.model

    def trained_by(self, optimizer: Any) -> None:
        """Measure the steps of an optimizer of a custom loop too.

        Several have a loss each, for all that is known.
        """
        if self.optimizer is None:
            self.optimizer, self.before = optimizer, self.watch.steps
            self.watch.attach(self.model, optimizer)
        else:
            self.takes_turns = True
            self.watch.add_optimizer(optimizer)

    def trains_at(self, trained: Source | None) -> None:
        """The line that trains the model, if it is not known yet."""
        if self._places.trained is None:
            self._places = replace(self._places, trained=trained)
            self._add_places()

    def _add_places(self) -> None:
        self.session.add(ProgramPlaces(self._places.compiled, self._places.trained))

    @property
    def followed(self) -> bool:
        """Whether a batch could be followed through the model."""
        return self.session.measured.get(Wiring) is not None

    def look(self, batches: tuple[tuple[Any, ...], ...], plan: FitPlan | None) -> None:
        """All that can be told before the first step: wiring, gradients, labels, ranges, data."""
        self.seen = True
        examination = Examination(self.session, self.subject, Batches(batches), plan)
        self._examination = examination
        self._guarded(
            examination.survey, Wiring, GradientFlow, Activations, what="the model was not followed"
        )
        self._guarded(examination.look_at_data, DataFacts, what="the data was not looked at")
        self._write()

    def look_at_step(self, seen: AsSeen) -> None:
        """All that the first step of a custom loop tells; what it trains towards is not known.

        Where ``known`` batches of its data were named, inputs and targets are looked at in these.
        """
        inputs: tuple[Any, ...] = (seen.inputs,)
        data = Batches(self.known or (inputs,))
        examination = Examination(self.session, self.subject, data, optimizer=self.optimizer)
        self._examination = examination
        loss = seen.loss_of_the_loop if seen.gradients else None
        self._guarded(
            lambda: examination.survey(batch=seen.batch(), loss=loss),
            Wiring, GradientFlow, Activations, what="the model was not followed",
        )  # fmt: skip
        flow = self.session.measured.get(GradientFlow)
        if flow is None and seen.reason:
            self.session.missing(GradientFlow, seen.reason)
        elif flow is not None:
            self.session.add(replace(flow, loss=np.nan if seen.loss is None else seen.loss))
        self._guarded(examination.look_at_inputs, DataFacts, what="the inputs were not looked at")
        for kind in (LossCheck, ItemFacts):
            self.session.missing(kind, NO_TARGETS)
        self._write()

    def look_behind(self) -> None:
        """Look at the model as it was before a first step that no Python code ran in."""
        look, self.first_step = self.first_step, None
        if look is not None:
            self.attempt(look)

    def attempt(self, look: Callable[[], None]) -> None:
        """Look at the model before its first step."""
        self.seen = True
        self._guarded(look, Wiring, GradientFlow, Activations, what="the model was not followed")

    def memorise(self) -> None:
        """The overfit test; the model, its optimizer and all random states are put back."""
        examination = self._examination
        if examination is None or not getattr(self.model, "compiled", False):
            self.session.missing(OverfitHistory, "the test needs a compiled model and its data")
            return

        def test() -> None:
            with preserved_state(self.model):
                examination.memorise(
                    budget_seconds=self.options.budget, max_steps=self.options.max_steps
                )

        try:
            self._guarded(test, OverfitHistory, what="the overfit test failed")
            if self.options.experiments is not None:
                self._guarded(self._experiment, Experiments, what="the experiments failed")
        finally:
            self.model.stop_training = False
            self.model.train_function = None
        self._write()

    def _experiment(self) -> None:
        """Make the experiments; the model is put back. Ctrl-C ends them, and then the program."""
        examination, wishes = self._examination, self.options.experiments
        assert examination is not None
        assert wishes is not None
        experiment(
            examination,
            self.diagnosis().findings,
            wishes,
            verdict=self.verdict(),
            console=self.session.console,
        )

    def without_data(self, reason: str) -> None:
        """The program's data could not be had; what needs none is said all the same."""
        for kind in (Wiring, GradientFlow, Activations, DataFacts):
            self.session.missing(kind, NO_DATA.format(reason=reason))

    def follow(self, stand_in: tuple[Any, ...] | None, reason: str) -> None:
        """How the model is wired, by a batch that has the right shape alone.

        Its values tell nothing: ``reason`` is why there are no others.
        """
        told = dict(self.session.measured.missing)
        without: tuple[Any, ...] = (GradientFlow, Activations, DataFacts)
        if stand_in is None:
            without = (Wiring, *without)
        else:
            self._survey(stand_in)
        for kind in without:
            self.session.missing(kind, told.get(kind.key, NO_DATA.format(reason=reason)))
        self._write()

    def _survey(self, stand_in: tuple[Any, ...]) -> None:
        examination = Examination(self.session, self.subject, Batches((stand_in,)))
        self._examination = self._examination or examination
        self._guarded(
            lambda: examination.survey(flow=False, activations=False),
            Wiring,
            what="the model was not followed",
        )

    def hopeless(self) -> str:
        """Why it is certain that this training comes to nothing; empty if it is not."""
        if self._examination is not None and self._examination.no_gradient():
            return "no trainable variable gets a gradient"
        history = self._history()
        if history is None:
            return ""
        if without_any_gradient(history):
            return f"no variable got a gradient in {len(history.steps)} measured steps"
        if len(history.loss) and np.isnan(history.loss[-3:]).all():
            return "" if np.isnan(history.loss).all() else "the loss is not finite any more"
        return ""

    def due(self) -> bool:
        """Whether it is time to look whether the training is hopeless."""
        now = time.monotonic()
        if now - self._looked < LOOK_EVERY:
            return False
        self._looked = now
        return True

    def trained(self) -> None:
        """The training ended, for now: take over what was measured while the model is there.

        Nothing is measured again where no step was taken since: the program may have changed the
        model, and what holds now was not so while it trained.
        """
        self.look_behind()  # if the first step was never seen to end
        self.watch.close()
        self.validation.close()
        if self._collected == self.steps:
            return
        self._collected = self.steps
        self._guarded(self._collect, GradientHistory, what="the training was not measured")
        self._write()

    def so_far(self) -> Diagnosis:
        """What the rules say in the middle of a training, which goes on."""
        self.look_behind()
        self._guarded(self._take_over, GradientHistory, what="the training was not measured")
        return self.diagnosis()

    def refused(self) -> None:
        """The training ended in an error: ask for flags and optimizer anew, with a step.

        The steps before it tell nothing of variables that were unfrozen since.
        """
        self._collected = None
        self._broken_off = True
        self.trained()

    def diagnosis(self) -> Diagnosis:
        """What the rules say now."""
        return self.session.judge(self.verdict())

    def verdict(self) -> Verdict:
        """Of the overfit test or the training's curves; certain failure comes first."""
        from saldiag.rules.verdicts.training import verdict_from

        if self.session.measured.get(OverfitHistory) is None and self.hopeless():
            return "does_not_learn"
        return verdict_from(self.session.measured)[0]

    def _collect(self) -> None:
        examination = self._examination
        self._take_over()
        if examination is not None and examination.data.batches:
            history = None if self._broken_off else self._history()
            examination.trainable(history, self._learnt)
            examination.look_ahead()
        elif self.session.measured.get(TrainableStatus) is None:
            self.session.missing(TrainableStatus, "no batch is known to follow")

    def _take_over(self) -> None:
        """What the training hook measured."""
        before = self.session.measured.get(GradientHistory)
        if self.watch.failed and before is None:
            self.session.missing(GradientHistory, self.watch.failed)
        self.session.add(*map(self._own, self.watch.measurements()))
        self.session.add(*self.validation.measurements())
        self.session.missing(ValidationCheck, self.validation.reason)

    def _history(self) -> GradientHistory | None:
        found = self.session.measured.get(GradientHistory)
        if self.watch.failed is None:
            with suppress(Exception):
                new = map(self._own, self.watch.measurements())
                found = next((m for m in new if isinstance(m, GradientHistory)), found)
        return found

    def _own(self, measured: Measurement) -> Measurement:
        """Without the loss where it depends on what another network learns meanwhile."""
        if self.takes_turns and isinstance(measured, GradientHistory):
            return replace(measured, loss=np.full_like(measured.loss, np.nan))
        return measured

    def _guarded(self, action: Callable[[], object], *kinds: Any, what: str) -> None:
        try:
            action()
        except Exception as error:  # a probe must never break the user's training
            reraise_interrupt(error)
            for kind in kinds:
                self.session.missing(kind, f"{what}: {one_line(error)}")

    def _write(self) -> None:
        """The diagnosis so far, should the program be killed."""
        with suppress(Exception):
            self.session.keep(self.diagnosis())


class Following(keras.callbacks.Callback):
    """Rides along in ``fit``: counts steps, ends a training that is long enough or hopeless."""

    def __init__(self, watched: Watched, steps: int | None, stop_early: bool) -> None:
        super().__init__()
        self._watched, self._left, self._stop_early = watched, steps, stop_early
        self.stopped = ""

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002 - Keras'
        """Count, and end ``fit`` where there were enough steps, or they lead nowhere."""
        self._watched.steps += 1
        if self._left is not None:
            self._left -= 1
            if self._left <= 0:
                self.model.stop_training = True
        if self._stop_early and self._watched.due() and (reason := self._watched.hopeless()):
            self.stopped = reason
            self.model.stop_training = True
