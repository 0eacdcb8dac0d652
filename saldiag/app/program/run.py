"""``saldiag run``: from a script to its diagnoses and an exit code."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TextIO

from saldiag.app.program import options as program_options
from saldiag.app.program.options import ProgramOptions
from saldiag.app.session.diffs import with_diffs_added
from saldiag.app.session.judging import judge
from saldiag.app.session.options import prepare_environment
from saldiag.app.session.output import print_data
from saldiag.app.session.session import FAILED, FINISHED, FOUND, Session, guarded, own_stdout
from saldiag.core.errors import SaldiagError
from saldiag.core.files.fingerprints import FilesSeen
from saldiag.core.findings.diagnosis import Diagnosis
from saldiag.core.interrupts import program_interrupts, take_interrupt
from saldiag.core.measurement import TYPES, Measurements, ProgramError, Source, SourceFiles
from saldiag.core.wording import short_file_and_line
from saldiag.subject.program.notebook import is_notebook, run_notebook
from saldiag.subject.program.script import ProgramEnd, print_error, run_script
from saldiag.subject.program.source_snapshot import SourceSnapshot

if TYPE_CHECKING:
    from saldiag.app.program.observer import Observer
    from saldiag.app.program.watched_model import Watched
    from saldiag.subject.compat.entries import Rename
    from saldiag.subject.program.warning_log import WarningRecorder

NO_MODEL = "the program trained no Keras model"


def run_program(options: ProgramOptions) -> int:
    """Run the program, diagnose what it trains, report; returns the exit code.

    The program's own exit code is told, and kept in ``run.json``: saldiag's is 1 if a model has
    findings or the program failed and a finding says why, 2 if it failed and none does, or there
    was no model.

    Raises:
        SaldiagError: there is no such script, or no run directory can be made.
    """
    if not options.script.is_file():
        what = "is a folder" if options.script.is_dir() else "no such file"
        raise SaldiagError(f"{options.script}: {what}: saldiag run takes a script or a notebook")
    prepare_environment()
    if options.experiments is not None:
        options.experiments.interventions()
    return _Program(options).run()


class _Program:
    """One run of a program, and the sessions of its models; the first is the run's own."""

    def __init__(self, options: ProgramOptions) -> None:
        self.options = options
        self.sessions: list[Session] = []
        self._files = SourceSnapshot(options.script)
        self._seen = FilesSeen()
        self._first = self._session(options.out)
        # The program may change its directory.
        self._first.run.path = self._first.run.path.resolve()
        self._blamed: Watched | None = None

    def run(self) -> int:
        """Run the program and report; returns the exit code."""
        try:
            with guarded(self._first):
                observer, ended, error = self._watched()
            return self._report(observer, ended, error)
        except BaseException as broken:
            if not take_interrupt(broken):
                raise
            return self._interrupted()

    def _interrupted(self) -> int:
        """Ctrl-C while saldiag itself was at work; returns the exit code."""
        if not self.sessions:
            return self._first.interrupted()
        for session in self.sessions:
            session.write_info("interrupted")
        self._tell([f"interrupted; what was measured so far is in {self._first.run.path}"])
        return FAILED

    def _watched(self) -> tuple[Observer, ProgramEnd, ProgramError]:
        from saldiag.app.program.observer import Observer
        from saldiag.subject.program.crash import program_error
        from saldiag.subject.program.keras_hooks import keras_hooked
        from saldiag.subject.program.warning_log import recording_warnings
        from saldiag.subject.source.layer_sources import recording_sources
        from saldiag_probes.state.isolation import preserved_name_scopes
        from saldiag_probes.training.gradient_tape import subscribed_to_tapes

        shown = sys.stdout
        with own_stdout(self.options.output_format), recording_warnings() as recorder:
            with recording_sources(self._seen) as lines:
                observer = Observer(self.options, lines, self.open)
                observer.give_up = lambda: self._give_up(observer, recorder, shown)
                taped = subscribed_to_tapes(observer.first_calls)
                own = program_interrupts()
                with keras_hooked(observer), taped, self._bridge(), preserved_name_scopes(), own:
                    ended = self._execute()
                raised = ended.error if ended.how == "raised" else None
                error = program_error(raised, lines.by_name(), compat=self.options.compat)
                self._blamed = observer.blamed(raised)
            _take_over(observer, recorder)
        return observer, ended, error

    def _give_up(self, observer: Observer, recorder: WarningRecorder, stdout: TextIO) -> NoReturn:
        """Report from inside of a program that catches whatever is to end it; end the process."""
        _take_over(observer, recorder)
        sys.stdout = stdout
        code = self._report(observer, ProgramEnd("stopped", 0), ProgramError())
        stdout.flush()
        sys.stderr.flush()
        os._exit(code)

    def _bridge(self) -> AbstractContextManager[object]:
        """What older versions had, for a program that was written for them."""
        from saldiag.subject.compat.bridge import old_apis_available

        return old_apis_available(self._renamed) if self.options.compat else nullcontext()

    def _renamed(self, entry: Rename, source: Source | None) -> None:
        where = f"{short_file_and_line(source)}: " if source else ""
        self._first.note(f"{where}{entry.advice}")

    def _execute(self) -> ProgramEnd:
        script, arguments = self.options.script, self.options.arguments
        if is_notebook(script):
            return run_notebook(script, arguments, self._first.note)
        return run_script(script, arguments)

    def open(self, name: str) -> Session:
        """The session of the next model."""
        number = len(self.sessions) + 1
        if number == 1:
            session = self._first
        else:
            session = self._session(self._first.run.path / f"model-{number}-{_in_a_path(name)}")
        self.sessions.append(session)
        session.attempt(SourceFiles, self._files.source_files)
        return session

    def _session(self, out: Path | None) -> Session:
        session = Session(
            "run",
            config=self.options.config(),
            seed=0,
            out=out,
            output_format=self.options.output_format,
            fail_on=self.options.fail_on,
            rules=self.options.rules,
            command_line=self.options.command_line,
        )
        session.files = self._seen
        return session

    def _report(self, observer: Observer, ended: ProgramEnd, error: ProgramError) -> int:
        if ended.error is not None and not isinstance(ended.error, KeyboardInterrupt):
            print_error(ended.error)
        lines = _told(ended, observer)
        if not observer.watched:
            lines.append(NO_MODEL)
            if not self._explains(error):
                self._first.failed()
                self._tell(lines)
                return FAILED
            self._without_model()
        if len(observer.watched) > 1:
            lines.append(f"{len(observer.watched)} models were looked at, each has its own run")
        self._keep(error, lines)
        self._tell(lines)
        outcomes = self._concluded(observer)
        runs = [session.reported(diagnosis) for session, diagnosis in outcomes]
        print_data(runs, self.options.output_format, self.options.fail_on)
        codes = [session.code(diagnosis) for session, diagnosis in outcomes]
        if ended.how == "interrupted" or (ended.how == "raised" and FOUND not in codes):
            return FAILED
        return max(codes, default=FINISHED)

    def _explains(self, error: ProgramError) -> bool:
        """Whether a rule says what the error means."""
        return bool(judge(Measurements.of(error), self._first.settings).findings)

    def _without_model(self) -> None:
        """The run tells of the error alone."""
        self.sessions.append(self._first)
        self._first.attempt(SourceFiles, self._files.source_files)
        for kind in TYPES.values():
            self._first.missing(kind, NO_MODEL)

    def _keep(self, error: ProgramError, lines: Sequence[str]) -> None:
        """How the program ended: the lines in every run, the error with the model it comes from.

        Where that is not known, it stands with the model that was trained last.
        """
        told = self._blamed.session if self._blamed is not None else self.sessions[-1]
        told.add(error)
        for session in self.sessions:
            session.missing(ProgramError, "it is told with the model that it comes from")
        for session in self.sessions:
            session.info = replace(session.info, notes=(*session.info.notes, *lines))

    def _concluded(self, observer: Observer) -> list[tuple[Session, Diagnosis]]:
        """What the rules say of each model, the gravest first."""
        if not observer.watched:
            return [(self._first, self._first.conclude("not_tested"))]
        watched = _gravest_first(observer.watched)
        sessions = [one.session for one in watched if isinstance(one.session, Session)]
        judged = [(one.diagnosis(), one.session.measured) for one in watched]
        outcomes = list(
            zip(sessions, with_diffs_added(judged, self._seen.fingerprints()), strict=True)
        )
        for session, diagnosis in outcomes:
            session.close(diagnosis)
        return outcomes

    def _tell(self, lines: Sequence[str]) -> None:
        for line in lines:
            self._first.console.print(
                f"saldiag: {line}", markup=False, highlight=False, soft_wrap=True
            )


def _take_over(observer: Observer, recorder: WarningRecorder) -> None:
    """The program trains no more: what was measured and warned of goes to the sessions."""
    for watched in observer.watched:
        with suppress(Exception):
            watched.trained()
        watched.session.add(recorder.warning_log())


def _told(ended: ProgramEnd, observer: Observer) -> list[str]:
    """How the program ended, where that is not as usual."""
    lines = {
        "finished": [],
        "exited": [f"the program ended with exit code {ended.code}"],
        "raised": [f"the program ended with {type(ended.error).__name__}"],
        "interrupted": ["interrupted; what was measured so far is judged"],
        "stopped": [f"the program was stopped: {observer.stopped}"],
    }[ended.how]
    if observer.unseen:
        more = "1 more model was" if observer.unseen == 1 else f"{observer.unseen} more models were"
        limit = program_options.MODELS
        full = len(observer.watched) >= limit
        why = f": those after the first {limit} are only trained" if full else ""
        lines.append(f"{more} not looked at{why}")
    return lines


def _gravest_first(watched: Sequence[Watched]) -> list[Watched]:
    """The models, those that do not learn or have errors first."""
    failing = [one for one in watched if one.diagnosis().failed()]
    return [*failing, *(one for one in watched if one not in failing)]


def _in_a_path(name: str) -> str:
    """A model's name as part of a file's name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:40] or "model"
