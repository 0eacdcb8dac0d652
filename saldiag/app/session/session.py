"""One command from its options to its exit code: run directory, phases, outcome."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import (
    contextmanager,
    redirect_stdout,
    suppress,
)
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from saldiag.app.session.collector import Collector
from saldiag.app.session.options import Options
from saldiag.app.session.settings import RuleChoice, config_with_rules, rule_settings
from saldiag.core.errors import SaldiagError
from saldiag.core.files.fingerprints import write_fingerprints
from saldiag.core.files.run import Run, RunInfo, Status, utc_now
from saldiag.core.findings.diagnosis import Diagnosis, Verdict
from saldiag.core.findings.finding import Severity
from saldiag.core.garbage import collection_paused
from saldiag.core.interrupts import caused_by_interrupt, raise_pending, take_interrupt
from saldiag.core.measurement import Measurement
from saldiag.progress import stage
from saldiag.repair.findings import with_diffs
from saldiag.version import __version__

if TYPE_CHECKING:
    from saldiag_reports.content.data import ReportData

EXIT_OK, EXIT_FINDINGS, EXIT_FAILED = 0, 1, 2
"""Exit codes: no findings, findings or a model that does not learn, could not run."""

WRITING = "judging and writing the report"
"""What a command does at its end."""

_RECORDED_PACKAGES = ("tensorflow", "keras", "numpy", "tensorboard")


class Session(Collector):
    """Collects what a command measures, and writes it to the run directory as it comes.

    Args:
        command: name of the command.
        config: options to record in ``run.json``.
        seed: seed to record in ``run.json``.
        out: run directory; None for a new one in ``saldiag-runs``.
        output_format: what to print, one of ``CHECK_FORMATS``.
        fail_on: least severity of a finding for exit code 1.
        resume: whether to continue the run in ``out``.
        rules: rules that judge, as given on the command line.
        command_line: arguments as typed; empty for the command's name.

    Raises:
        RunError: the run directory cannot be made, or holds another run.
        ConfigError: the settings file is missing or not valid.
        SaldiagError: the command line names a rule that does not exist.
    """

    console: Console
    """Console on stderr."""

    def __init__(
        self,
        command: str,
        *,
        config: dict[str, Any],
        seed: int,
        out: Path | None,
        output_format: str = "text",
        fail_on: Severity = "error",
        resume: bool = False,
        rules: RuleChoice | None = None,
        command_line: Sequence[str] = (),
    ) -> None:
        super().__init__(rule_settings(rules or RuleChoice()))
        self.output_format = output_format
        self.fail_on: Severity = fail_on
        self.console = Console(stderr=True)
        self.run = Run.create(command, out, resume=resume)
        self._before = self.run.read_info() if resume else None
        self.info = RunInfo(
            command=("saldiag", *(command_line or (command,))),
            versions=package_versions(),
            seed=seed,
            config=config_with_rules(config, self.settings),
            started=utc_now(),
        )
        self._began = time.monotonic()
        self.write_info("running")

    @classmethod
    def for_command(
        cls, command: str, options: Options, config: dict[str, Any] | None = None
    ) -> Session:
        """The session of a command.

        Args:
            command: name of the command.
            options: its options.
            config: options to record in ``run.json``; None for ``options``.

        Raises:
            SaldiagError: see the class.
        """
        return cls(
            command,
            config=options.config() if config is None else config,
            seed=options.seed,
            out=options.out,
            output_format=options.output_format,
            fail_on=options.fail_on,
            resume=options.resume,
            rules=options.rules,
            command_line=options.command_line,
        )

    def print_note(self, line: str) -> None:
        """Print a line on stderr, and add it to the notes of ``run.json``."""
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)
        self.info = replace(self.info, notes=(*self.info.notes, line))

    def print_notes(self, lines: Iterable[str]) -> None:
        """Print several lines, and add them to the notes of ``run.json``."""
        for line in lines:
            self.print_note(line)

    def write_info(self, status: Status) -> None:
        """Write ``run.json``, with the missing measurements so far.

        Raises:
            RunError: it cannot be written.
        """
        self.info = replace(self.info, status=status, missing=dict(self.measured.missing))
        self.run.write_info(self.info)

    @contextmanager
    def phase(self, name: str, *, own_display: bool = False) -> Iterator[None]:
        """Record the seconds that the block takes, and show the name of the phase meanwhile.

        Args:
            name: name of the phase, in ``timings``.
            own_display: whether the phase shows its own progress.
        """
        with (
            super().phase(name),
            stage(self.console, name, own_display=own_display),
        ):
            yield
            raise_pending()

    def add(self, *measurements: Measurement | None) -> None:
        """Add measurements, and write them to the run at once; None is skipped."""
        super().add(*measurements)
        for measurement in measurements:
            if measurement is not None:
                self.run.write_measurement(measurement)

    def finish(self, verdict: Verdict) -> int:
        """Run the rules, write the run, and print the outcome; returns the exit code."""
        from saldiag.app.session.output import print_data

        with stage(self.console, WRITING), collection_paused():
            diagnosis = self.judge_and_write(verdict)
        print_data([self.report_data(diagnosis)], self.output_format, self.fail_on)
        return self.exit_code(diagnosis)

    def judge_and_write(self, verdict: Verdict, status: Status = "finished") -> Diagnosis:
        """Run the rules, add the diffs, and write the run."""
        [diagnosis] = with_diffs([(self.judge(verdict), self.measured)], self.files.fingerprints())
        self.write_run(diagnosis, status)
        return diagnosis

    def write_run(self, diagnosis: Diagnosis, status: Status = "finished") -> None:
        """Write the diagnosis, the reports and ``run.json``."""
        from saldiag.app.session.output import write_outcome

        edited = [edit.source.file for finding in diagnosis.findings for edit in finding.edits]
        write_fingerprints(self.run.path, self.files.fingerprints().only(edited))
        data, _ = self.report_data(diagnosis)
        write_outcome(self.run, data)
        self.write_info(status)

    def report_data(self, diagnosis: Diagnosis) -> tuple[ReportData, Path]:
        """The data of the reports, and the run directory."""
        from saldiag_reports.content.data import ReportData

        info = replace(self.info, missing=dict(self.measured.missing))
        return ReportData(diagnosis=diagnosis, measured=self.measured, info=info), self.run.path

    def exit_code(self, diagnosis: Diagnosis) -> int:
        """The exit code: ``EXIT_FINDINGS`` or ``EXIT_OK``."""
        return EXIT_FINDINGS if diagnosis.failed(self.fail_on) else EXIT_OK

    def judge(self, verdict: Verdict | None = None) -> Diagnosis:
        """Run the rules on the measurements so far; ``timings`` gets the total."""
        self.timings["total"] = round(time.monotonic() - self._began, 3)
        return super().judge(verdict)

    def write_partial(self, diagnosis: Diagnosis) -> None:
        """Write the diagnosis so far, in case the process is killed."""
        self.run.write_diagnosis(diagnosis)

    def mark_failed(self, status: Status = "failed") -> None:
        """Mark the run as failed; an empty run is deleted, a resumed run keeps its status."""
        if self._before is not None:
            self.run.write_info(self._before)
            return
        self.write_info(status)
        self.run.discard()

    def finish_interrupted(self, verdict: Verdict = "inconclusive") -> int:
        """Write the outcome of what was measured so far; returns the exit code.

        A second Ctrl-C ends this too: the measurements are written already.
        """
        self.write_info("interrupted")
        with stage(self.console, "interrupted: writing what was measured"):
            self.judge_and_write(verdict, "interrupted")
        self.console.print(
            f"interrupted; the measurements so far are in {self.run.path}",
            markup=False, highlight=False, soft_wrap=True,
        )  # fmt: skip
        return EXIT_FAILED


@contextmanager
def stdout_for_diagnosis(output_format: str) -> Iterator[None]:
    """Inside the block, output of the user's code goes to stderr if ``output_format`` is not text.

    Programs parse the other formats, so stdout must hold only the diagnosis. File descriptor 1 is
    redirected too: processes that the user's code starts inherit it.
    """
    if output_format == "text":
        yield
        return
    process, outermost = os.getpid(), not _real_stdout
    if outermost:
        _flush_stdout()
        with suppress(OSError):  # a descriptor is closed
            _real_stdout.append(os.dup(1))
            os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        if outermost and os.getpid() == process:  # not in a child that the user's code forked
            restore_stdout_descriptor()


_real_stdout: list[int] = []


def restore_stdout_descriptor() -> None:
    """End what ``stdout_for_diagnosis`` does to file descriptor 1; no effect outside of it."""
    while _real_stdout:
        _flush_stdout()
        real = _real_stdout.pop()
        os.dup2(real, 1)
        os.close(real)


def _flush_stdout() -> None:
    for stream in (sys.stdout, sys.__stdout__):
        with suppress(Exception):  # closed, or replaced by an object without it
            if stream is not None:
                stream.flush()


def package_versions() -> dict[str, str]:
    """Versions of saldiag, Python and the packages that affect a result, by name."""
    versions = {"saldiag": __version__, "python": platform.python_version()}
    for name in _RECORDED_PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


@contextmanager
def marked_failed_on_error(session: Session) -> Iterator[None]:
    """Mark the run as failed if the block raises an error that Ctrl-C did not cause."""
    try:
        yield
    except BaseException as error:
        if not caused_by_interrupt(error):
            with suppress(SaldiagError):
                session.mark_failed()
        raise


def run_session(session: Session, work: Callable[[], Verdict]) -> int:
    """Run a command's work with the framework's warnings recorded; returns the exit code.

    Args:
        session: the session of the command.
        work: loads, examines and trains; returns the verdict.

    Raises:
        SaldiagError: the command could not run.
    """
    from saldiag.subject.program.warning_log import recording_warnings

    verdict: Verdict = "inconclusive"
    try:
        with marked_failed_on_error(session):
            with recording_warnings() as recorder:
                try:
                    verdict = work()
                    raise_pending()
                except BaseException as error:
                    if caused_by_interrupt(error):
                        session.add(recorder.warning_log())
                    raise
            session.add(recorder.warning_log())
            return session.finish(verdict)
    except BaseException as error:
        if not take_interrupt(error):
            raise
        return session.finish_interrupted(verdict)
