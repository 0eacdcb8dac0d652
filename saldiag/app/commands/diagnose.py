"""The commands that examine one model: overfit, prove, gradients, dtypes, trainable."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from saldiag.app.examine.examination import Examination
from saldiag.app.examine.experiments import (
    INITIAL_STATE_FILE,
    RebuiltSubject,
    check_resumed,
    load_initial_state,
    run_experiments,
    save_initial_state,
)
from saldiag.app.examine.uncallable import (
    UNUSABLE_MESSAGES,
    ModelUnusable,
    errors_as_findings,
    run_unless_unusable,
)
from saldiag.app.loading.subject import OverfitData
from saldiag.app.session.options import Options, prepare_environment
from saldiag.app.session.request import Request, parse_request
from saldiag.app.session.session import Session, run_session, stdout_for_diagnosis
from saldiag.core.errors import SaldiagError
from saldiag.core.findings.diagnosis import Verdict
from saldiag.core.measurement import (
    GradientHistory,
    Measurement,
    OverfitHistory,
    SourceFiles,
    Wiring,
)
from saldiag.core.training.fit_plan import FitPlan
from saldiag.core.training.schedule import every
from saldiag.core.wording import printable
from saldiag.subject.program.backend import select_tensorflow
from saldiag.subject.program.source_snapshot import SourceSnapshot


@dataclass
class CommandExamination(Examination):
    """The examination of the items to memorise, for one command."""

    session: Session
    """Writes the measurements to the run."""
    data: OverfitData
    """The items to memorise."""
    request: Request = field(kw_only=True)
    """The request of the command."""

    def survey(self, **parts: Any) -> None:
        """Trace one batch through the model.

        Raises:
            ModelUnusable: the user's model cannot be called, and findings explain why.
            SaldiagError: the model cannot be called, and no rule explains why.
        """
        with errors_as_findings(self, "call") if self.subject.is_user_model else nullcontext():
            super().survey(**parts)


def overfit(options: Options) -> int:
    """``saldiag overfit``: can the model memorise a few samples? Returns the exit code."""
    return _run_command("overfit", options, _test_and_experiment)


def prove(options: Options) -> int:
    """``saldiag prove``: which changes make the model learn? Returns the exit code."""
    return _run_command("prove", options, _test_and_experiment)


def gradients(options: Options) -> int:
    """``saldiag gradients``: which layers receive a gradient, and does it change the weights?

    Returns the exit code.
    """
    return _run_command("gradients", options, _examine_gradients)


def dtypes(options: Options) -> int:
    """``saldiag dtypes``: which dtypes does a forward pass use? Returns the exit code."""
    return _run_command("dtypes", options, _examine_dtypes)


def trainable(options: Options) -> int:
    """``saldiag trainable``: which variables are flagged trainable, and which actually train?

    Returns the exit code.
    """
    return _run_command("trainable", options, _examine_trainability)


def _run_command(
    command: str, options: Options, work: Callable[[CommandExamination], Verdict]
) -> int:
    """Parse the request, open a session, load the subject, and do ``work``; returns the exit code.

    Raises:
        SaldiagError: bad options, model or data, or a run directory that cannot be made.
    """
    request = parse_request(options)
    if options.resume and options.out is not None:
        check_resumed(options.out, options)
    prepare_environment()
    if options.experiments is not None:
        # Refuses an unknown suspicion before any work is done.
        options.experiments.suspected_interventions()
    session = Session.for_command(command, options)
    session.print_notes(request.notes)

    def run_examination() -> Verdict:
        with stdout_for_diagnosis(options.output_format):
            return run_unless_unusable(session, lambda: work(_load_examination(session, request)))

    return run_session(session, run_examination)


def _load_examination(session: Session, request: Request) -> CommandExamination:
    """Load the subject, and make its examination."""
    from saldiag.app.loading.load import load_subject

    subject, data = load_subject(request, session)
    select_tensorflow()  # the user's code may have set another backend, for worker processes
    # The validation data of the user's program are unknown.
    plan = (
        FitPlan(data=data.fit_data)
        if subject.is_user_model
        else FitPlan(validation=data.validation)
    )
    session.print_notes(subject.notes)
    session.try_measuring(SourceFiles, SourceSnapshot().source_files)
    return CommandExamination(session, subject, data, plan, request=request)


def _examine_dtypes(examination: CommandExamination) -> Verdict:
    examination.survey(flow=False, activations=False)
    return "not_tested"


def _examine_trainability(examination: CommandExamination) -> Verdict:
    examination.survey()
    examination.measure_trainability(None)
    return "not_tested"


def _examine_gradients(examination: CommandExamination) -> Verdict:
    examination.survey()
    examination.examine_data()
    examination.measure_trainability(_train_few_steps(examination))
    return "does_not_learn" if examination.no_gradient() else "not_tested"


@contextmanager
def _training_errors_explained(
    examination: CommandExamination, kind: type[Measurement]
) -> Iterator[None]:
    """Explain an error of the user's model in the block, as the reason why ``kind`` is missing.

    Errors of a registered model pass: they are bugs.

    Raises:
        SaldiagError: no rule explains the error.
    """
    from saldiag_probes.trace.errors import error_summary

    try:
        with (
            errors_as_findings(examination, "training")
            if examination.subject.is_user_model
            else nullcontext()
        ):
            yield
    except ModelUnusable as reason:
        examination.session.mark_missing(kind, str(reason))
        examination.session.print_note(str(reason))
    except SaldiagError:
        raise
    except Exception as error:
        if not examination.subject.is_user_model:
            raise
        raise SaldiagError(_cannot_train_message(error_summary(error))) from error


def _cannot_train_message(why: str) -> str:
    if "No loss to compute" in why:  # Keras' message, from a custom train_step
        return "the model is compiled without a loss, which the overfit test needs: give --loss"
    return printable(f"{UNUSABLE_MESSAGES['training']}: {why}")


def _train_few_steps(examination: CommandExamination) -> GradientHistory | None:
    """Train ``--steps`` steps with the gradient probe on; None if nothing is trainable."""
    from saldiag.experiments.overfit.overfit_test import repeated_dataset
    from saldiag_probes.trace.execution import without_graph_optimizer
    from saldiag_probes.training.callback import Watch

    steps = examination.request.options.steps
    watch = Watch(schedule=every(1), histograms=every(max(1, steps - 1)))
    if not examination.model.trainable_variables:
        examination.session.mark_missing(GradientHistory, "the model has no trainable variables")
        return None
    with examination.session.phase(f"taking {steps} training steps"), without_graph_optimizer():
        batches = repeated_dataset(examination.data.batches)
        with _training_errors_explained(examination, GradientHistory), closing(watch):
            examination.model.fit(
                batches, epochs=1, steps_per_epoch=steps, shuffle=False, verbose=0,
                callbacks=[watch],
            )  # fmt: skip
    return examination.collect_history(watch)


def _test_and_experiment(examination: CommandExamination) -> Verdict:
    from saldiag.rules.verdicts.overfit import verdict_of

    examination.survey()
    examination.examine_data()
    if reason := examination.session.measured.changing_loss:
        examination.session.mark_missing(OverfitHistory, reason)
        return "inconclusive"
    history = None
    with (
        _restored_for_experiments(examination),
        _training_errors_explained(examination, OverfitHistory),
    ):
        history = _run_overfit_test(examination)
        if history.stopped == "interrupted":
            raise KeyboardInterrupt
        examination.measure_trainability(examination.session.measured.get(GradientHistory))
    # A model that cannot be trained at all has a finding that says why.
    verdict = "does_not_learn" if history is None else verdict_of(history)[0]
    _run_requested_experiments(examination, verdict)
    return verdict


def _restored_for_experiments(examination: CommandExamination) -> AbstractContextManager[object]:
    """Restore the model after the block if experiments follow, which start from its first state."""
    from saldiag_probes.state.isolation import preserved_state

    followed = examination.request.options.experiments is not None
    return preserved_state(examination.model) if followed else nullcontext()


def _run_requested_experiments(examination: CommandExamination, verdict: Verdict) -> None:
    """Run the experiments if the options request them.

    The first invocation saves the weights; a resumed one loads them, because its arms must start
    from the same state.
    """
    session, options = examination.session, examination.request.options
    if options.experiments is None:
        return
    folder = session.run.path / "experiments"
    starts = folder / INITIAL_STATE_FILE
    if starts.is_file():
        load_initial_state(examination.model, starts)
    else:
        save_initial_state(examination.model, starts)
    wiring = session.measured.get(Wiring)
    with session.phase("experiments", own_display=True):
        run_experiments(
            examination,
            session.judge(verdict).findings,
            options.experiments,
            verdict=verdict,
            make=RebuiltSubject(examination.request, wiring, starts.resolve()),
            folder=folder,
            console=session.console,
        )


def _run_overfit_test(examination: CommandExamination) -> OverfitHistory:
    """Run the overfit test with the gradient probe on, showing loss and time left."""
    from saldiag.progress import overfit_progress

    session, options, data = (
        examination.session,
        examination.request.options,
        examination.data,
    )
    with overfit_progress(session.console, options.budget, options.max_steps) as progress:
        history = examination.run_overfit_test(
            budget_seconds=options.budget,
            max_steps=options.max_steps,
            subset_items=data.subset_items,
            image_size=data.image_size,
            validation=data.validation,
            progress=progress,
        )
    if history.stopped != "interrupted" and data.pixel_range is not None:
        examination.collect_predictions()
    return history
