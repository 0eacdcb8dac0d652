"""``saldiag run``: from a script to its diagnoses and an exit code."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, redirect_stdout, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from saldiag.app.options import prepare_environment
from saldiag.app.program.options import MODELS, ProgramOptions
from saldiag.app.render import print_outcomes
from saldiag.app.session import FAILED, FINISHED, FOUND, Session, guarded
from saldiag.core.errors import SaldiagError
from saldiag.subject.notebook import is_notebook, run_notebook
from saldiag.subject.script import Ended, print_error, run_script

if TYPE_CHECKING:
    from saldiag.app.program.observer import Observer
    from saldiag.app.program.watched import Watched

NO_MODEL = "the program trained no Keras model"


def run_program(options: ProgramOptions) -> int:
    """Run the program, diagnose what it trains, report; returns the exit code.

    The program's own exit code is told, and kept in ``run.json``: saldiag's is 1 if a model has
    findings, 2 if there was no model, or the program failed and no finding says why.

    Raises:
        SaldiagError: there is no such script, or no run directory can be made.
    """
    if not options.script.is_file():
        what = "is a folder" if options.script.is_dir() else "no such file"
        raise SaldiagError(f"{options.script}: {what}: saldiag run takes a script or a notebook")
    prepare_environment()
    return _Program(options).run()


class _Program:
    """One run of a program, and the sessions of its models; the first is the run's own."""

    def __init__(self, options: ProgramOptions) -> None:
        self.options = options
        self.sessions: list[Session] = []
        self._first = self._session(options.out)
        # The program may change its directory.
        self._first.run.path = self._first.run.path.resolve()

    def run(self) -> int:
        """Run the program and report; returns the exit code."""
        with guarded(self._first):
            observer, ended = self._watched()
        return self._report(observer, ended)

    def _watched(self) -> tuple[Observer, Ended]:
        from saldiag.app.program.observer import Observer
        from saldiag.subject.hooks import hooked
        from saldiag.subject.sources import recording_sources
        from saldiag.subject.warning_log import recording_warnings
        from saldiag_probes.tapes import listening_to_tapes

        with _own_stdout(self.options.output_format), recording_warnings() as recorder:
            with recording_sources() as lines:
                observer = Observer(self.options, lines, self.open)
                with hooked(observer), listening_to_tapes(observer.first_calls):
                    ended = self._execute()
            for watched in observer.watched:
                with suppress(Exception):
                    watched.trained()
                watched.session.add(recorder.log())
        return observer, ended

    def _execute(self) -> Ended:
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
        return session

    def _session(self, out: Path | None) -> Session:
        return Session(
            "run",
            config=self.options.config(),
            seed=0,
            out=out,
            output_format=self.options.output_format,
            fail_on=self.options.fail_on,
            rules=self.options.rules,
        )

    def _report(self, observer: Observer, ended: Ended) -> int:
        if ended.error is not None and ended.how == "raised":
            print_error(ended.error)
        lines = _told(ended, observer)
        if not observer.watched:
            self._first.failed()
            self._tell([*lines, NO_MODEL])
            return FAILED
        if len(observer.watched) > 1:
            lines.append(f"{len(observer.watched)} models were trained, each has its own run")
        for session in self.sessions:
            session.info = replace(session.info, notes=(*session.info.notes, *lines))
        self._tell(lines)
        outcomes = [
            (watched.session, watched.session.conclude(watched.verdict()))
            for watched in _gravest_first(observer.watched)
        ]
        print_outcomes(outcomes)
        codes = [session.code(diagnosis) for session, diagnosis in outcomes]
        if ended.how == "interrupted" or (ended.how == "raised" and FOUND not in codes):
            return FAILED
        return max(codes, default=FINISHED)

    def _tell(self, lines: Sequence[str]) -> None:
        for line in lines:
            self._first.console.print(
                f"saldiag: {line}", markup=False, highlight=False, soft_wrap=True
            )


def _own_stdout(output_format: str) -> AbstractContextManager[object]:
    """In a format for programs stdout is the diagnosis alone: the program prints to stderr."""
    return nullcontext() if output_format == "text" else redirect_stdout(sys.stderr)


def _told(ended: Ended, observer: Observer) -> list[str]:
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
        lines.append(f"{more} not looked at: those after the first {MODELS} are only trained")
    return lines


def _gravest_first(watched: Sequence[Watched]) -> list[Watched]:
    """The models, those that do not learn or have errors first."""
    failing = [one for one in watched if one.diagnosis().failed()]
    return [*failing, *(one for one in watched if one not in failing)]


def _in_a_path(name: str) -> str:
    """A model's name as part of a file's name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:40] or "model"
