"""``saldiag run``: runs a script or notebook, and diagnoses the models that it trains."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TextIO

from saldiag.app.program.options import ProgramOptions
from saldiag.app.session.judging import judge
from saldiag.app.session.options import prepare_environment
from saldiag.app.session.output import print_data
from saldiag.app.session.session import (
    EXIT_FAILED,
    EXIT_FINDINGS,
    EXIT_OK,
    WRITING,
    Session,
    marked_failed_on_error,
    restore_stdout_descriptor,
    stdout_for_diagnosis,
)
from saldiag.app.watching import options as watch_options
from saldiag.core.errors import RunError, SaldiagError
from saldiag.core.files.fingerprints import FilesSeen
from saldiag.core.files.run import Status
from saldiag.core.findings.diagnosis import Diagnosis
from saldiag.core.garbage import collection_paused
from saldiag.core.interrupts import program_interrupts, take_interrupt
from saldiag.core.measurement import TYPES, Measurements, ProgramError, Source, SourceFiles
from saldiag.core.wording import short_file_and_line
from saldiag.progress import stage
from saldiag.repair.findings import with_diffs
from saldiag.subject.program.backend import tensorflow_instead
from saldiag.subject.program.notebook import is_notebook, run_notebook
from saldiag.subject.program.script import ProgramEnd, reinstall_program, run_script
from saldiag.subject.program.source_snapshot import SourceSnapshot
from saldiag.subject.source.stack_frames import paths_shown_from

if TYPE_CHECKING:
    from saldiag.app.watching.observer import Observer
    from saldiag.app.watching.watched_model import WatchedModel
    from saldiag.subject.compat.entries import Rename
    from saldiag.subject.program.warning_log import WarningRecorder

__all__ = ["NO_KERAS_MODEL", "reinstall_program", "run_program"]

NO_KERAS_MODEL = "the program trained no Keras model"
"""Why there are no measurements; also printed."""


def run_program(options: ProgramOptions) -> int:
    """Run the program, diagnose the models that it trains, and report; returns the exit code.

    The exit code is 1 if a model has findings, or if the program failed and a finding explains it;
    2 if the program failed and no finding explains it, was interrupted, or trained no model. The
    program's own exit code, if it is not 0, is printed, and recorded in ``run.json``.

    Raises:
        SaldiagError: there is no such script, it needs another backend of Keras, or the run
            directory cannot be made.
    """
    if not options.script.is_file():
        what = "is a folder" if options.script.is_dir() else "no such file"
        raise SaldiagError(f"{options.script}: {what}: saldiag run expects a script or a notebook")
    backend = tensorflow_instead("the program", [options.script], keep=options.backend == "keep")
    prepare_environment()
    if options.experiments is not None:
        options.experiments.suspected_interventions()
    with paths_shown_from(Path.cwd()):
        return _ProgramRun(options, backend).run_and_report()


class _ProgramRun:
    """One run of a program, with a session for each model; the first model uses the run's own."""

    def __init__(self, options: ProgramOptions, backend: str | None) -> None:
        self.options = options
        self.sessions: list[Session] = []
        self._sources = SourceSnapshot(options.script)
        self._files_seen = FilesSeen()
        self._first = self._new_session(options.out)
        # The program may change the working directory.
        self._first.run.path = self._first.run.path.resolve()
        self._failing_model: WatchedModel | None = None
        self._notes = [backend] if backend else []
        self._print_lines(self._notes)

    def run_and_report(self) -> int:
        """Run the program and report; returns the exit code."""
        try:
            with marked_failed_on_error(self._first):
                observer, ended, error = self._run_observed()
            with collection_paused():
                return self._report_outcome(observer, ended, error)
        except BaseException as broken:
            if not take_interrupt(broken):
                raise
            return self._report_interrupt()

    def _report_interrupt(self) -> int:
        """Finish after Ctrl-C while saldiag's own code was running; returns the exit code."""
        if not self.sessions:
            return self._first.finish_interrupted()
        for session in self.sessions:
            session.write_info("interrupted")
        self._print_lines([f"interrupted; the measurements so far are in {self._first.run.path}"])
        return EXIT_FAILED

    def _run_observed(self) -> tuple[Observer, ProgramEnd, ProgramError]:
        """Run the program under observation; returns observer, end and error of the program.

        The order of the contexts matters. The outer two still hold while the error is described and
        the last training is ended. The inner five surround only the program: its strategy gets its
        devices, Keras is hooked, old APIs are available, name scopes are restored, and Ctrl-C
        reaches the program.
        """
        from saldiag.app.program.rehearsal import rehearsing
        from saldiag.app.watching.observer import Observer
        from saldiag.subject.program.crash import program_error
        from saldiag.subject.program.warning_log import recording_warnings
        from saldiag.subject.source.layer_sources import recording_sources
        from saldiag_probes.state.isolation import preserved_name_scopes

        shown = sys.stdout
        with stdout_for_diagnosis(self.options.output_format), recording_warnings() as recorder:
            with recording_sources(self._files_seen) as lines:
                observer = Observer(self.options, lines, self.open_session)
                observer.end_process = lambda: self._report_and_end_process(
                    observer, recorder, shown
                )
                own = program_interrupts()
                with (
                    rehearsing(self.options.replicas, self._first.print_note),
                    observer.observing(),
                    self._compatibility_bridge(),
                    preserved_name_scopes(),
                    own,
                ):
                    ended = self._run_script()
                raised = ended.error if ended.how == "raised" else None
                error = program_error(raised, lines.by_name(), compat=self.options.compat)
                self._failing_model = observer.failing_watched_model(raised)
            _end_trainings(observer, recorder)
        return observer, ended, error

    def _report_and_end_process(
        self, observer: Observer, recorder: WarningRecorder, stdout: TextIO
    ) -> NoReturn:
        """Report from inside a program that catches ``ProgramStopped``, and end the process.

        ``os._exit`` skips the program's handlers, so that the output is flushed here.
        """
        if self._first.run.is_in_forked_child:
            os._exit(0)
        _end_trainings(observer, recorder)
        restore_stdout_descriptor()
        sys.stdout = stdout
        code = self._report_outcome(observer, ProgramEnd("stopped", 0), ProgramError())
        stdout.flush()
        sys.stderr.flush()
        os._exit(code)

    def _compatibility_bridge(self) -> AbstractContextManager[object]:
        """Under ``--compat``, old names of Keras and NumPy work inside the block."""
        from saldiag.subject.compat.bridge import old_apis_available

        return old_apis_available(self._note_rename) if self.options.compat else nullcontext()

    def _note_rename(self, entry: Rename, source: Source | None) -> None:
        """Print what to write in place of an old name."""
        where = f"{short_file_and_line(source)}: " if source else ""
        self._first.print_note(f"{where}{entry.advice}")

    def _run_script(self) -> ProgramEnd:
        """Run the script or the notebook to its end."""
        script, arguments = self.options.script, self.options.arguments
        if is_notebook(script):
            return run_notebook(script, arguments, self._first.print_note)
        return run_script(script, arguments, typed=self.options.typed)

    def open_session(self, name: str) -> Session:
        """The session of the next model; ``name`` is the model's.

        Raises:
            RunError: the run directory cannot be made, or this is a child process that the program
                forked.
        """
        if self._first.run.is_in_forked_child:
            raise RunError(f"{self._first.run.path}: belongs to the parent process")
        number = len(self.sessions) + 1
        if number == 1:
            session = self._first
        else:
            session = self._new_session(
                self._first.run.path / f"model-{number}-{_file_name_part(name)}"
            )
        self.sessions.append(session)
        session.try_measuring(SourceFiles, self._sources.source_files)
        return session

    def _new_session(self, out: Path | None) -> Session:
        """A session with the options of the run."""
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
        session.files = self._files_seen
        return session

    def _report_outcome(self, observer: Observer, ended: ProgramEnd, error: ProgramError) -> int:
        """Write all runs and print the outcome; returns the exit code."""
        lines = _end_lines(ended, observer)
        if not observer.watched:
            lines.append(NO_KERAS_MODEL)
            if not self._is_explained(error):
                self._first.mark_failed("interrupted" if ended.how == "interrupted" else "failed")
                self._print_lines(lines)
                return EXIT_FAILED
            self._report_error_only()
        if len(observer.watched) > 1:
            lines.append(f"{len(observer.watched)} models were examined; each has its own run")
        self._add_ending(error, lines)
        self._print_lines(lines)
        status: Status = "interrupted" if ended.how == "interrupted" else "finished"
        with stage(self._first.console, WRITING):
            outcomes = self._write_diagnoses(observer, status)
        runs = [session.report_data(diagnosis) for session, diagnosis in outcomes]
        print_data(runs, self.options.output_format, self.options.fail_on)
        codes = [session.exit_code(diagnosis) for session, diagnosis in outcomes]
        if ended.how == "interrupted" or (ended.code != 0 and EXIT_FINDINGS not in codes):
            return EXIT_FAILED
        return max(codes, default=EXIT_OK)

    def _is_explained(self, error: ProgramError) -> bool:
        """Whether a rule explains the error."""
        return bool(judge(Measurements.of(error), self._first.settings).findings)

    def _report_error_only(self) -> None:
        """Prepare a run that has only the program's error."""
        self.sessions.append(self._first)
        self._first.try_measuring(SourceFiles, self._sources.source_files)
        for kind in TYPES.values():
            self._first.mark_missing(kind, NO_KERAS_MODEL)

    def _add_ending(self, error: ProgramError, lines: Sequence[str]) -> None:
        """Add the end of the program: ``lines`` to every run, the error to one.

        That is the run of the model in which the error arose, else of the model trained last.
        """
        failing = self._failing_model
        session_of_error = failing.session if failing is not None else self.sessions[-1]
        session_of_error.add(error)
        for session in self.sessions:
            session.mark_missing(
                ProgramError, "reported with the model in which the error occurred"
            )
        for session in self.sessions:
            notes = (*self._notes, *session.info.notes, *lines)
            session.info = replace(session.info, notes=notes)

    def _write_diagnoses(
        self, observer: Observer, status: Status
    ) -> list[tuple[Session, Diagnosis]]:
        """Write the run of each model; returns the diagnoses, failing models first."""
        if not observer.watched:
            return [(self._first, self._first.judge_and_write("not_tested", status))]
        judged = _failing_first([(one, one.diagnosis()) for one in observer.watched])
        sessions = [one.session for one, _ in judged if isinstance(one.session, Session)]
        findings = [(diagnosis, one.session.measured) for one, diagnosis in judged]
        fingerprints = self._files_seen.fingerprints()
        outcomes = list(zip(sessions, with_diffs(findings, fingerprints), strict=True))
        for session, diagnosis in outcomes:
            session.write_run(diagnosis, status)
        return outcomes

    def _print_lines(self, lines: Sequence[str]) -> None:
        for line in lines:
            self._first.console.print(
                f"saldiag: {line}", markup=False, highlight=False, soft_wrap=True
            )


def _end_trainings(observer: Observer, recorder: WarningRecorder) -> None:
    """End the trainings: add measurements and warnings to the sessions."""
    observer.end_trainings()
    observer.measure_items()
    for watched in observer.watched:
        watched.session.add(recorder.warning_log())


def _end_lines(ended: ProgramEnd, observer: Observer) -> list[str]:
    """Lines on how the program ended, and on models that were not examined; none if all is well."""
    lines = {
        "finished": [],
        "exited": [f"the program ended with exit code {ended.code}"] if ended.code else [],
        "raised": [f"the program ended with {type(ended.error).__name__}"],
        "interrupted": ["interrupted; judging what was measured so far"],
        "stopped": [f"the program was stopped: {observer.stopped}"],
    }[ended.how]
    if observer.unwatched:
        more = (
            "1 more model was"
            if observer.unwatched == 1
            else f"{observer.unwatched} more models were"
        )
        limit = watch_options.MAX_MODELS
        full = len(observer.watched) >= limit
        why = f": only the first {limit} are examined" if full else ""
        lines.append(f"{more} not examined{why}")
    return lines


def _failing_first(
    judged: Sequence[tuple[WatchedModel, Diagnosis]],
) -> list[tuple[WatchedModel, Diagnosis]]:
    """The models, those that do not learn or have errors first, each group in order."""
    return sorted(judged, key=lambda pair: not pair[1].failed())


def _file_name_part(name: str) -> str:
    """A model's name with only the characters that are safe in a file name, at most 40."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:40] or "model"
