"""One model of a program: examined before its first step, watched while it trains."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from saldiag.app.examine.examination import Examination
from saldiag.app.examine.experiments import run_experiments
from saldiag.app.loading.subject import Batches, Subject
from saldiag.app.program.first_step import StepRecord
from saldiag.app.program.options import WatchOptions
from saldiag.app.session.collector import Collector, error_line
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

SECONDS_BETWEEN_CHECKS = 2.0
"""Seconds between two checks of a training that is stopped early."""

NO_TARGETS = "the targets of a custom loop are not known"
"""Why measurements that need targets are missing."""

UNREADABLE_DATA = "the data that the program trains on could not be read: {reason}"
"""Why measurements that need the training data are missing."""

NOT_TRACED = "the model was not traced"
"""Prefix of the reason why wiring, gradient flow and activations are missing."""


@dataclass(frozen=True)
class ProgramLines:
    """The lines of the program that compile and train a model."""

    compiled: Source | None = None
    """The line that calls ``compile``; None if unknown or not compiled."""
    trained: Source | None = None
    """The line that trains the model; None if unknown."""


class WatchedModel:
    """A model under observation.

    Its states, in order: new, examined (``examine_model`` or ``examine_step``), training, ended
    (``end_training``), and possibly training again. An error in here becomes the reason for a
    missing measurement; it never reaches the program.

    Args:
        session: takes the measurements.
        subject: the model, and what is known about it.
        lines: the lines of the program that compile and train the model.
        options: the options of the program's run.
        assigned_variables: variables whose values are no longer the initial ones.
    """

    def __init__(
        self,
        session: Collector,
        subject: Subject,
        lines: ProgramLines,
        options: WatchOptions,
        assigned_variables: Container[Any] = (),
    ) -> None:
        self.session, self.subject, self.options = session, subject, options
        self.name = subject.name or subject.model.name
        self.steps = 0
        """Training steps so far; a call of a ``tf.function`` counts once."""
        self.steps_before_loop = 0
        """Steps that the probe had counted before the custom loop began."""
        self.watch = Watch(options.probes, logarithmic(2))
        """The gradient probe."""
        self.validation = ValidationWatch(self._validation_subject)
        """The validation probe."""
        self._lines = lines
        self._assigned_variables = assigned_variables
        self._examination: Examination | None = None
        self._steps_collected: int | None = None
        self._ended_in_error = False
        self._last_check = time.monotonic()
        self.optimizer: Any = None
        """The first optimizer of a custom loop; None under ``fit``."""
        self.is_examined = False
        """Whether the model was examined, or it was tried."""
        self.first_step: Callable[[], None] | None = None
        """Examines a first step that was taken inside a ``tf.function``; None without one."""
        self.is_alternating = False
        """Whether several losses train the model, or another model trains against it."""
        self.graph: Any = None
        """The graph of the last step; None if it ran eagerly."""
        self.known_batches: tuple[tuple[Any, ...], ...] = ()
        """Batches of a custom loop's data that the user has named; empty if unknown."""
        self._add_lines()

    def _validation_subject(self) -> tuple[ModeErrors, Sequence[Batch]] | None:
        """The errors in both modes, and training batches; None if the model is not compiled."""
        examination = self._examination
        if examination is None or not getattr(self.model, "compiled", False):
            return None
        return examination.mode_errors, examination.data.batches

    @property
    def model(self) -> Any:
        """The user's model."""
        return self.subject.model

    def attach_optimizer(self, optimizer: Any) -> None:
        """Measure the steps of an optimizer of a custom loop.

        A second optimizer is assumed to have a loss of its own.
        """
        if self.optimizer is None:
            self.optimizer, self.steps_before_loop = optimizer, self.watch.steps
            self.watch.attach(self.model, optimizer)
        else:
            self.is_alternating = True
            self.watch.add_optimizer(optimizer)

    def set_training_line(self, trained: Source | None) -> None:
        """Record the line that trains the model, if it is unknown so far."""
        if self._lines.trained is None:
            self._lines = replace(self._lines, trained=trained)
            self._add_lines()

    def _add_lines(self) -> None:
        """Add the lines of the program to the measurements."""
        self.session.add(ProgramPlaces(self._lines.compiled, self._lines.trained))

    @property
    def is_traced(self) -> bool:
        """Whether the layers of the model could be traced."""
        return self.session.measured.get(Wiring) is not None

    def examine_model(self, batches: tuple[tuple[Any, ...], ...], plan: FitPlan | None) -> None:
        """Examine the model and its data before the first step.

        Args:
            batches: batches of the training data, each (x, y) or (x, y, sample_weight).
            plan: arguments of ``fit``; None if they are unknown.
        """
        self.is_examined = True
        examination = Examination(self.session, self.subject, Batches(batches), plan)
        self._examination = examination
        self._run_guarded(examination.survey, Wiring, GradientFlow, Activations, what=NOT_TRACED)
        self._run_guarded(examination.examine_data, DataFacts, what="the data was not examined")
        self._write_partial()

    def examine_step(self, record: StepRecord) -> None:
        """Examine the model on the first step of a custom loop.

        The targets of a loop are unknown. Inputs are examined on ``known_batches`` if there are
        any, else on the inputs of the step.
        """
        inputs: tuple[Any, ...] = (record.inputs,)
        data = Batches(self.known_batches or (inputs,))
        examination = Examination(self.session, self.subject, data, optimizer=self.optimizer)
        self._examination = examination
        loss = record.loss_of_the_loop if record.gradients else None
        self._run_guarded(
            lambda: examination.survey(batch=record.probe_batch(), loss=loss),
            Wiring, GradientFlow, Activations, what=NOT_TRACED,
        )  # fmt: skip
        flow = self.session.measured.get(GradientFlow)
        if flow is None and record.reason:
            self.session.mark_missing(GradientFlow, record.reason)
        elif flow is not None:
            self.session.add(replace(flow, loss=np.nan if record.loss is None else record.loss))
        self._run_guarded(
            examination.examine_inputs, DataFacts, what="the inputs were not examined"
        )
        for kind in (LossCheck, ItemFacts):
            self.session.mark_missing(kind, NO_TARGETS)
        self._write_partial()

    def examine_graph_step(self) -> None:
        """Run the postponed examination of a first step that a ``tf.function`` took."""
        examine, self.first_step = self.first_step, None
        if examine is not None:
            self.examine_guarded(examine)

    def examine_guarded(self, examine: Callable[[], None]) -> None:
        """Run an examination of the model; an error in it becomes the reason of what is missing."""
        self.is_examined = True
        self._run_guarded(examine, Wiring, GradientFlow, Activations, what=NOT_TRACED)

    def run_overfit_test(self) -> None:
        """Run the overfit test; model, optimizer and random states are restored."""
        examination = self._examination
        if examination is None or not getattr(self.model, "compiled", False):
            self.session.mark_missing(
                OverfitHistory, "the overfit test needs a compiled model and its data"
            )
            return

        def run_test() -> None:
            with preserved_state(self.model):
                examination.run_overfit_test(
                    budget_seconds=self.options.budget, max_steps=self.options.max_steps
                )

        try:
            self._run_guarded(run_test, OverfitHistory, what="the overfit test failed")
            if self.options.experiments is not None:
                self._run_guarded(self._run_experiments, Experiments, what="the experiments failed")
        finally:
            self.model.stop_training = False
            self.model.train_function = None
        self._write_partial()

    def _run_experiments(self) -> None:
        """Run the experiments and restore the model; Ctrl-C ends them, and then the program."""
        examination, options = self._examination, self.options.experiments
        assert examination is not None
        assert options is not None
        run_experiments(
            examination,
            self.diagnosis().findings,
            options,
            verdict=self.verdict(),
            console=self.session.console,
        )

    def mark_data_unreadable(self, reason: str) -> None:
        """Record that the training data could not be read; the training itself is measured."""
        for kind in (Wiring, GradientFlow, Activations, DataFacts):
            self.session.mark_missing(kind, UNREADABLE_DATA.format(reason=reason))

    def trace_wiring(self, stand_in: tuple[Any, ...] | None, reason: str) -> None:
        """Trace the wiring of the model on a batch that has only the right shape.

        Args:
            stand_in: the batch; None if not even the shape is known.
            reason: why the real data is unknown.
        """
        reasons = dict(self.session.measured.missing)
        unmeasured: tuple[Any, ...] = (GradientFlow, Activations, DataFacts)
        if stand_in is None:
            unmeasured = (Wiring, *unmeasured)
        else:
            self._trace_layers(stand_in)
        for kind in unmeasured:
            self.session.mark_missing(
                kind, reasons.get(kind.key, UNREADABLE_DATA.format(reason=reason))
            )
        self._write_partial()

    def _trace_layers(self, stand_in: tuple[Any, ...]) -> None:
        examination = Examination(self.session, self.subject, Batches((stand_in,)))
        self._examination = self._examination or examination
        self._run_guarded(
            lambda: examination.survey(flow=False, activations=False),
            Wiring,
            what=NOT_TRACED,
        )

    def certain_failure(self) -> str:
        """Why this training is certain to fail; empty if it is not."""
        if self._examination is not None and self._examination.no_gradient():
            return "no trainable variable receives a gradient"
        history = self._latest_history()
        if history is None:
            return ""
        if without_any_gradient(history):
            return f"no variable received a gradient in {len(history.steps)} measured steps"
        if len(history.loss) and np.isnan(history.loss[-3:]).all():
            # All NaN means that the loss is unknown, as in some custom loops.
            return "" if np.isnan(history.loss).all() else "the loss has become NaN or infinite"
        return ""

    def is_check_due(self) -> bool:
        """Whether the last check of the training is ``SECONDS_BETWEEN_CHECKS`` ago."""
        now = time.monotonic()
        if now - self._last_check < SECONDS_BETWEEN_CHECKS:
            return False
        self._last_check = now
        return True

    def end_training(self) -> None:
        """End a training: add its measurements, and compare the trainable flags.

        Without a step since the last call nothing is measured again: the program may have changed
        the model, which would no longer be the one that was trained.
        """
        self.examine_graph_step()  # if the tf.function of the first step has not returned
        self.watch.close()
        self.validation.close()
        if self._steps_collected == self.steps:
            return
        self._steps_collected = self.steps
        self._run_guarded(
            self._measure_after_training, GradientHistory, what="the training was not measured"
        )
        self._write_partial()

    def diagnosis_so_far(self) -> Diagnosis:
        """The diagnosis in the middle of a training, which continues."""
        self.examine_graph_step()
        self._run_guarded(
            self._add_hook_measurements, GradientHistory, what="the training was not measured"
        )
        return self.diagnosis()

    def end_failed_training(self) -> None:
        """End a training that raised an error; trainability is measured with a new step.

        Steps of an earlier training show nothing about variables that were unfrozen since.
        """
        self._steps_collected = None
        self._ended_in_error = True
        self.end_training()

    def diagnosis(self) -> Diagnosis:
        """The diagnosis of the measurements so far."""
        return self.session.judge(self.verdict())

    def verdict(self) -> Verdict:
        """The verdict of the overfit test, else of the training; certain failure comes first."""
        from saldiag.rules.verdicts.training import verdict_from

        if self.session.measured.get(OverfitHistory) is None and self.certain_failure():
            return "does_not_learn"
        return verdict_from(self.session.measured)[0]

    def _measure_after_training(self) -> None:
        """Add the measurements of the training, and compare the trainable flags."""
        examination = self._examination
        self._add_hook_measurements()
        if examination is not None and examination.data.batches:
            history = None if self._ended_in_error else self._latest_history()
            examination.measure_trainability(history, self._assigned_variables)
            examination.measure_training_plan()
        elif self.session.measured.get(TrainableStatus) is None:
            self.session.mark_missing(
                TrainableStatus, "no batch is available to trace the model with"
            )

    def _add_hook_measurements(self) -> None:
        """Add what the gradient and validation probes have measured."""
        before = self.session.measured.get(GradientHistory)
        if self.watch.failed and before is None:
            self.session.mark_missing(GradientHistory, self.watch.failed)
        self.session.add(*map(self._without_alternating_loss, self.watch.measurements()))
        self.session.add(*self.validation.measurements())
        self.session.mark_missing(ValidationCheck, self.validation.reason)

    def _latest_history(self) -> GradientHistory | None:
        found = self.session.measured.get(GradientHistory)
        if self.watch.failed is None:
            with suppress(Exception):
                new = map(self._without_alternating_loss, self.watch.measurements())
                found = next((m for m in new if isinstance(m, GradientHistory)), found)
        return found

    def _without_alternating_loss(self, measured: Measurement) -> Measurement:
        """The measurement without its loss if the losses of several models depend on each other."""
        if self.is_alternating and isinstance(measured, GradientHistory):
            return replace(measured, loss=np.full_like(measured.loss, np.nan))
        return measured

    def _run_guarded(self, action: Callable[[], object], *kinds: Any, what: str) -> None:
        try:
            action()
        except Exception as error:  # a probe must never break the user's training
            reraise_interrupt(error)
            for kind in kinds:
                self.session.mark_missing(kind, f"{what}: {error_line(error)}")

    def _write_partial(self) -> None:
        """Write the diagnosis so far, in case the program is killed."""
        with suppress(Exception):
            self.session.write_partial(self.diagnosis())
