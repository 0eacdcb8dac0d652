"""One model of a program: examined on its first batches, measured while it trains."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Container, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import replace
from typing import Any

import numpy as np

from saldiag.app.examine.examination import Examination
from saldiag.app.examine.experiments import run_experiments
from saldiag.app.loading.subject import Batches, Subject
from saldiag.app.session.collector import Collector, error_line
from saldiag.app.watching.first_step import StepRecord
from saldiag.app.watching.guard import guarded
from saldiag.app.watching.initial_values import InitialValues, preserved_model
from saldiag.app.watching.model_record import ModelRecord, ModelState, ProgramLines
from saldiag.app.watching.options import WatchOptions
from saldiag.core.findings.diagnosis import Diagnosis, Verdict
from saldiag.core.keras_types import KerasOptimizer
from saldiag.core.measurement import (
    Activations,
    DataFacts,
    Distribution,
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
from saldiag.subject.source.stack_frames import source_in_traceback
from saldiag_probes.distribution.replica_watch import ReplicaWatch
from saldiag_probes.distribution.watching import subscribe_watch
from saldiag_probes.hooks.engine import Subscription
from saldiag_probes.training.callback import Watch

SECONDS_BETWEEN_CHECKS = 2.0
"""Seconds between two checks of a training that is stopped early."""

NO_TARGETS = "the targets of a custom loop are not known"
"""Why measurements that need targets are missing."""

UNREADABLE_DATA = "the data that the program trains on could not be read: {reason}"
"""Why measurements that need the training data is missing."""

NOT_TRACED = "the model was not traced"
"""Prefix of the reason why wiring, gradient flow and activations are missing."""

TRACED = (Wiring, GradientFlow, Activations)
"""What tracing a batch measures."""


class WatchedModel:
    """A model under observation; ``record`` has its state.

    An error in here becomes the reason for a missing measurement; it never reaches the program.

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
        self.record = ModelRecord(lines)
        """The state and what is known about the training; replaced at each event."""
        self.watch = Watch(options.probes, logarithmic(2))
        """The gradient probe."""
        self.validation = ValidationWatch(self._validation_subject)
        """The validation probe."""
        self.optimizer: Any = None
        """The first optimizer of a custom loop; None under ``fit``."""
        self.replicas: ReplicaWatch | None = None
        """The probe of a training on several replicas; None on one."""
        self._replica_subscription: Subscription | None = None
        self._assigned_variables = assigned_variables
        self._examination: Examination | None = None
        self._initial: InitialValues | None = None
        self._last_check = time.monotonic()
        self._add_lines()

    @property
    def model(self) -> Any:
        """The user's model."""
        return self.subject.model

    @property
    def is_traced(self) -> bool:
        """Whether the layers of the model could be traced."""
        return self.session.measured.get(Wiring) is not None

    def set_training_line(self, trained: Source | None) -> None:
        """Record the line that trains the model, if it is unknown so far."""
        if self.record.lines.trained is None:
            self.record = replace(self.record, lines=replace(self.record.lines, trained=trained))
            self._add_lines()

    def mark_alternating(self) -> None:
        """Record that several losses train the model, or another model trains against it."""
        self.record = replace(self.record, is_alternating=True)

    def _add_lines(self) -> None:
        """Add the lines of the program to the measurements."""
        lines = self.record.lines
        self.session.add(ProgramPlaces(lines.compiled, lines.trained))

    def _validation_subject(self) -> tuple[ModeErrors, Sequence[Batch]] | None:
        """The errors in both modes, and training batches; None if the model is not compiled."""
        examination = self._examination
        if examination is None or not getattr(self.model, "compiled", False):
            return None
        return examination.mode_errors, examination.data.batches

    # Examining the model, on batches that it trains on.

    def examine_first_batch(self, batch: Batch, plan: FitPlan) -> None:
        """Trace the model on the first batch of a ``fit``, before its first step.

        Args:
            batch: (x, y) or (x, y, sample_weight).
            plan: arguments of ``fit``.
        """
        examination = Examination(self.session, self.subject, Batches((batch,)), plan)
        self._examination = examination

        def survey() -> None:
            # What the data check needs when more batches have come.
            self._initial = InitialValues(self.model)
            with preserved_model(self.model):
                examination.survey()

        self.examine_guarded(survey)

    def examine_batches(self, batches: tuple[Batch, ...]) -> None:
        """Examine the data once enough batches were drawn, and run the tests that were asked for.

        The model has its first values meanwhile.

        Args:
            batches: the first batches of the training data, each once.
        """
        examination, initial = self._examination, self._initial
        if examination is None or initial is None:
            return
        self._initial = None
        examination.data = Batches(batches)

        def examine() -> None:
            with initial.restored():
                examination.examine_data()

        self._run_guarded(examine, DataFacts, what="the data was not examined")
        self._write_partial()
        if self.options.overfit or self.options.experiments is not None:
            self._test_memorising(examination, initial)

    def examine_step(self, record: StepRecord, known_batches: tuple[Batch, ...] = ()) -> None:
        """Examine the model on the first step of a custom loop.

        The targets of a loop are unknown.

        Args:
            record: the recorded step.
            known_batches: batches of the loop's data that the user has named; without them inputs
                are examined on those of the step.
        """
        data = Batches(known_batches or ((record.inputs,),))
        examination = Examination(self.session, self.subject, data, optimizer=self.optimizer)
        self._examination = examination
        loss = record.loss_of_the_loop if record.gradients else None
        self.examine_guarded(lambda: examination.survey(batch=record.probe_batch(), loss=loss))
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

    def examine_guarded(self, examine: Callable[[], None]) -> None:
        """Run an examination of the model; an error in it becomes the reason of what is missing."""
        self.record = replace(self.record, is_examined=True)
        if self.record.state is ModelState.UNSEEN:
            self.record = self.record.advanced(ModelState.EXAMINED)
        self._run_guarded(examine, *TRACED, what=NOT_TRACED)

    def mark_data_unreadable(self, reason: str) -> None:
        """Record that the training data could not be read; the training itself is measured."""
        for kind in (*TRACED, DataFacts):
            self.session.mark_missing(kind, UNREADABLE_DATA.format(reason=reason))

    def trace_wiring(self, stand_in: Batch | None, reason: str) -> None:
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

    def _trace_layers(self, stand_in: Batch) -> None:
        examination = Examination(self.session, self.subject, Batches((stand_in,)))
        self._examination = self._examination or examination

        def trace() -> None:
            with preserved_model(self.model):
                examination.survey(flow=False, activations=False)

        self._run_guarded(trace, Wiring, what=NOT_TRACED)

    def _test_memorising(self, examination: Examination, initial: InitialValues) -> None:
        """Run the overfit test and the experiments, from the model's first values."""
        if not getattr(self.model, "compiled", False):
            self.session.mark_missing(
                OverfitHistory, "the overfit test needs a compiled model and its data"
            )
            return

        def run_test() -> None:
            with initial.restored():
                examination.run_overfit_test(
                    budget_seconds=self.options.budget, max_steps=self.options.max_steps
                )

        def experiment() -> None:
            options = self.options.experiments
            assert options is not None
            with initial.restored():
                run_experiments(
                    examination, self.diagnosis().findings, options,
                    verdict=self.verdict(), console=self.session.console,
                )  # fmt: skip

        self._run_guarded(run_test, OverfitHistory, what="the overfit test failed")
        if self.options.experiments is not None:
            self._run_guarded(experiment, Experiments, what="the experiments failed")
        self._write_partial()

    # Measuring the training.

    def start_fit(self) -> None:
        """Measure the steps of a ``fit`` from now on."""
        self.record = self.record.advanced(ModelState.TRAINING)
        if self.replicas is None and self.model.distribute_strategy.num_replicas_in_sync > 1:
            self.replicas = ReplicaWatch(self.model, source_in_traceback)
            self._replica_subscription = subscribe_watch(self.replicas)
        self.watch.attach(self.model)

    def attach_optimizer(self, optimizer: KerasOptimizer) -> None:
        """Measure the steps of an optimizer of a custom loop.

        A second optimizer is assumed to have a loss of its own.
        """
        self.record = self.record.advanced(ModelState.TRAINING)
        if self.optimizer is None:
            self.optimizer = optimizer
            self.watch.attach(self.model, optimizer)
        else:
            self.mark_alternating()
            self.watch.add_optimizer(optimizer)

    def count_step(self) -> None:
        """Count a step, or a call of a ``tf.function``, which may take several."""
        self.record = self.record.stepped()
        self.watch.on_train_batch_end(self.record.steps)

    def end_training(self, *, failed: bool = False) -> None:
        """End a training: add its measurements, and compare the trainable flags.

        Without a step since the last call nothing is measured again: the program may have changed
        the model, which would no longer be the one that was trained.

        Args:
            failed: whether it raised an error.
        """
        if failed:
            self.record = self.record.failed()
        self.record = self.record.advanced(ModelState.SETTLED)
        self.watch.close()
        self.validation.close()
        if self._replica_subscription is not None:
            self._replica_subscription.cancel()
        if self.record.collected_steps == self.record.steps:
            return
        self.record = self.record.collected()
        self._run_guarded(
            self._measure_after_training, GradientHistory, what="the training was not measured"
        )
        self._write_partial()

    def measure_items(self, *, read_again: bool) -> None:
        """Measure the samples of data that only the training may draw, when it has ended.

        Args:
            read_again: whether the program has ended, and nothing draws from the data any more.
        """
        examination = self._examination
        if examination is None:
            return

        def measure() -> None:
            with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
                examination.measure_drawn_items(read_again=read_again)

        self._run_guarded(measure, ItemFacts, what="the samples were not examined")

    def is_check_due(self) -> bool:
        """Whether the last check of the training is ``SECONDS_BETWEEN_CHECKS`` ago."""
        now = time.monotonic()
        if now - self._last_check < SECONDS_BETWEEN_CHECKS:
            return False
        self._last_check = now
        return True

    # Judging.

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

    def diagnosis(self) -> Diagnosis:
        """The diagnosis of the measurements so far."""
        return self.session.judge(self.verdict())

    def diagnosis_so_far(self) -> Diagnosis:
        """The diagnosis in the middle of a training, which continues."""
        self._run_guarded(
            self._add_hook_measurements, GradientHistory, what="the training was not measured"
        )
        return self.diagnosis()

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
        if examination is None or not examination.data.batches:
            self.session.mark_missing(
                TrainableStatus, "no batch is available to trace the model with"
            )
            return
        examination.add_validation(self.validation.batches)
        history = None if self.record.ended_in_error else self._latest_history()
        with preserved_model(self.model):
            examination.measure_trainability(history, self._assigned_variables)
            examination.measure_training_plan()

    def _add_hook_measurements(self) -> None:
        """Add what the gradient and validation probes have measured."""
        before = self.session.measured.get(GradientHistory)
        if self.watch.failed and before is None:
            self.session.mark_missing(GradientHistory, self.watch.failed)
        self.session.add(*map(self._without_alternating_loss, self.watch.measurements()))
        self.session.add(*self.validation.measurements())
        if self.replicas is not None:
            self.session.add(self.replicas.collect())
            if self.replicas.failed:
                self.session.mark_missing(Distribution, self.replicas.failed)
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
        if self.record.is_alternating and isinstance(measured, GradientHistory):
            return replace(measured, loss=np.full_like(measured.loss, np.nan))
        return measured

    def _run_guarded(self, action: Callable[[], object], *kinds: Any, what: str) -> None:
        def mark_missing(error: Exception) -> None:
            for kind in kinds:
                self.session.mark_missing(kind, f"{what}: {error_line(error)}")

        guarded(action, mark_missing)

    def _write_partial(self) -> None:
        """Write the diagnosis so far, in case the program is killed."""
        with suppress(Exception):
            self.session.write_partial(self.diagnosis())
