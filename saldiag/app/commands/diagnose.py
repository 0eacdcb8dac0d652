"""The commands that look at one model: overfit, gradients, dtypes, trainable."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from saldiag.app.examine.examination import Examination
from saldiag.app.examine.experiments import (
    STARTS,
    RebuiltSubject,
    check_resumed,
    experiment,
    load_starts,
    save_starts,
)
from saldiag.app.examine.uncallable import TOLD, ModelUnusable, explaining, unless_unusable
from saldiag.app.session.options import Options, prepare_environment
from saldiag.app.session.request import Request, parse_request
from saldiag.app.session.session import Session, own_stdout, run_session
from saldiag.app.subject.subject import Data
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
from saldiag.subject.program.source_snapshot import SourceSnapshot


@dataclass
class CommandExamination(Examination):
    """The examination of the items to memorise, for one command."""

    session: Session
    """Writes what is measured into the run."""
    data: Data
    """The items to memorise."""
    request: Request = field(kw_only=True)
    """What the command is asked to do."""

    def survey(self, **parts: Any) -> None:
        """Trace one batch through the model.

        Raises:
            ModelUnusable: it cannot be called, and findings explain why.
            SaldiagError: it cannot be called, and no rule explains why.
        """
        with explaining(self, "call") if self.subject.is_users else nullcontext():
            super().survey(**parts)


def overfit(options: Options) -> int:
    """``saldiag overfit``: can the model memorise a few samples?"""
    return _run("overfit", options, _overfit)


def prove(options: Options) -> int:
    """``saldiag prove``: which change makes the model learn, and which do not?"""
    return _run("prove", options, _overfit)


def gradients(options: Options) -> int:
    """``saldiag gradients``: where does the gradient go, and does it move the weights?"""
    return _run("gradients", options, _gradients)


def dtypes(options: Options) -> int:
    """``saldiag dtypes``: which dtypes does a forward pass really use?"""
    return _run("dtypes", options, _dtypes)


def trainable(options: Options) -> int:
    """``saldiag trainable``: which variables are declared trainable, and which train?"""
    return _run("trainable", options, _trainable)


def _run(command: str, options: Options, work: Callable[[CommandExamination], Verdict]) -> int:
    """Parse the request, open a session, load the subject, work, judge, render."""
    request = parse_request(options)
    if options.resume and options.out is not None:
        check_resumed(options.out, options)
    prepare_environment()
    if options.experiments is not None:
        options.experiments.interventions()  # refuses an unknown suspicion before any work
    session = Session.on(command, options)

    def examine() -> Verdict:
        with own_stdout(options.output_format):
            return unless_unusable(session, lambda: work(_load(session, request)))

    return run_session(session, examine)


def _load(session: Session, request: Request) -> CommandExamination:
    """Load the subject; the examination of it."""
    from saldiag.app.subject.load import load_subject

    subject, data = load_subject(request, session)
    # What the user's program validates with is not known.
    plan = FitPlan(data=data.fed) if subject.is_users else FitPlan(validation=data.validation)
    session.notes(subject.notes)
    session.attempt(SourceFiles, SourceSnapshot().source_files)
    return CommandExamination(session, subject, data, plan, request=request)


def _dtypes(examination: CommandExamination) -> Verdict:
    examination.survey(flow=False, activations=False)
    return "not_tested"


def _trainable(examination: CommandExamination) -> Verdict:
    examination.survey()
    examination.trainable(None)
    return "not_tested"


def _gradients(examination: CommandExamination) -> Verdict:
    examination.survey()
    examination.look_at_data()
    examination.trainable(_few_steps(examination))
    return "does_not_learn" if examination.no_gradient() else "not_tested"


@contextmanager
def _training(examination: CommandExamination, kind: type[Measurement]) -> Iterator[None]:
    """A training that raises is no fault of saldiag's where the model is the user's.

    Raises:
        SaldiagError: no rule can tell why it raises.
    """
    from saldiag_probes.trace.errors import error_summary

    try:
        with explaining(examination, "training") if examination.subject.is_users else nullcontext():
            yield
    except ModelUnusable as told:
        examination.session.missing(kind, str(told))
        examination.session.note(str(told))
    except SaldiagError:
        raise
    except Exception as error:
        if not examination.subject.is_users:
            raise
        raise SaldiagError(_untrainable(error_summary(error))) from error


def _untrainable(why: str) -> str:
    if "No loss to compute" in why:  # Keras', of a training step of the model's own
        return "the model is compiled without a loss, which overfit measures: --loss names one"
    return printable(f"{TOLD['training']}: {why}")


def _few_steps(examination: CommandExamination) -> GradientHistory | None:
    """Train ``--steps`` steps with the gradients probe on."""
    from saldiag.experiments.overfit.overfit_test import repeated_dataset
    from saldiag_probes.trace.execution import without_graph_optimizer
    from saldiag_probes.training.callback import Watch

    steps = examination.request.options.steps
    watch = Watch(schedule=every(1), histograms=every(max(1, steps - 1)))
    if not examination.model.trainable_variables:
        examination.session.missing(GradientHistory, "the model has no trainable variables")
        return None
    with examination.session.phase(f"taking {steps} training steps"), without_graph_optimizer():
        batches = repeated_dataset(examination.data.batches)
        with _training(examination, GradientHistory):
            examination.model.fit(
                batches, epochs=1, steps_per_epoch=steps, shuffle=False, verbose=0,
                callbacks=[watch],
            )  # fmt: skip
    return examination.collect(watch)


def _overfit(examination: CommandExamination) -> Verdict:
    from saldiag.rules.verdicts.overfit import verdict_of

    examination.survey()
    examination.look_at_data()
    history = None
    with _put_back(examination), _training(examination, OverfitHistory):
        history = _memorise(examination)
        if history.stopped == "interrupted":
            raise KeyboardInterrupt
        examination.trainable(examination.session.measured.get(GradientHistory))
    # One that cannot even be trained has a finding that says why.
    verdict = "does_not_learn" if history is None else verdict_of(history)[0]
    _experiment(examination, verdict)
    return verdict


def _put_back(examination: CommandExamination) -> AbstractContextManager[object]:
    """The model is at its start again behind the block, where experiments need it there."""
    from saldiag_probes.state.isolation import preserved_state

    wanted = examination.request.options.experiments is not None
    return preserved_state(examination.model) if wanted else nullcontext()


def _experiment(examination: CommandExamination, verdict: Verdict) -> None:
    """Make the experiments that are asked for."""
    session, options = examination.session, examination.request.options
    if options.experiments is None:
        return
    folder = session.run.path / "experiments"
    starts = folder / STARTS
    if starts.is_file():
        load_starts(examination.model, starts)
    else:
        save_starts(examination.model, starts)
    wiring = session.measured.get(Wiring)
    with session.phase("experiments", own_display=True):
        experiment(
            examination,
            session.judge(verdict).findings,
            options.experiments,
            verdict=verdict,
            make=RebuiltSubject(examination.request, wiring, starts.resolve()),
            folder=folder,
            console=session.console,
        )


def _memorise(examination: CommandExamination) -> OverfitHistory:
    """Run the overfit test with the training hook on, showing loss and time left."""
    from saldiag.progress import overfit_progress

    session, options, data = (
        examination.session,
        examination.request.options,
        examination.data,
    )
    with overfit_progress(session.console, options.budget) as progress:
        history = examination.memorise(
            budget_seconds=options.budget,
            max_steps=options.max_steps,
            subset_items=data.subset_items,
            image_size=data.image_size,
            validation=data.validation,
            progress=progress,
        )
    if history.stopped != "interrupted" and data.pixels is not None:
        examination.pictures()
    return history
