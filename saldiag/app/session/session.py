"""One command, from its arguments to its exit code: the run directory, the clock, the outcome."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import (
    AbstractContextManager,
    contextmanager,
    nullcontext,
    redirect_stdout,
    suppress,
)
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from saldiag.app.session.collector import Collector
from saldiag.app.session.diffs import keep_fingerprints, with_diffs_added
from saldiag.app.session.options import Options
from saldiag.app.session.settings import RuleChoice, rule_settings, with_rules
from saldiag.core.errors import SaldiagError
from saldiag.core.files.run import Run, RunInfo, Status, utc_now
from saldiag.core.findings.diagnosis import Diagnosis, Verdict
from saldiag.core.findings.finding import Severity
from saldiag.core.interrupts import caused_by_interrupt, raise_pending, take_interrupt
from saldiag.core.measurement import Measurement
from saldiag.version import __version__

if TYPE_CHECKING:
    from saldiag_reports.content.data import ReportData

FINISHED, FOUND, FAILED = 0, 1, 2
"""Exit codes: nothing to complain of, findings, could not run."""

_PACKAGES = ("tensorflow", "keras", "numpy", "tensorboard")


class Session(Collector):
    """Collects what a command measures and writes it as it comes."""

    console: Console

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
            versions=versions(),
            seed=seed,
            config=with_rules(config, self.settings),
            started=utc_now(),
        )
        self._began = time.monotonic()
        self.write_info("running")

    @classmethod
    def on(cls, command: str, options: Options, config: dict[str, Any] | None = None) -> Session:
        """The session of a command on these options; ``config`` is recorded in their place."""
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

    def note(self, line: str) -> None:
        """Tell the user one line, and keep it in ``run.json``."""
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)
        self.info = replace(self.info, notes=(*self.info.notes, line))

    def notes(self, lines: Iterable[str]) -> None:
        """Tell the user several lines."""
        for line in lines:
            self.note(line)

    def write_info(self, status: Status) -> None:
        """Write ``run.json``."""
        self.info = replace(self.info, status=status, missing=dict(self.measured.missing))
        self.run.write_info(self.info)

    @contextmanager
    def phase(self, name: str, *, own_display: bool = False) -> Iterator[None]:
        """Time a phase and show its name while it lasts (unless it has a display of its own)."""
        with (
            super().phase(name),
            nullcontext() if own_display else self.console.status(f"{name} …"),
        ):
            yield
            raise_pending()

    def add(self, *measurements: Measurement | None) -> None:
        """Keep measurements and write them to the run at once."""
        super().add(*measurements)
        for measurement in measurements:
            if measurement is not None:
                self.run.write_measurement(measurement)

    def finish(self, verdict: Verdict) -> int:
        """Judge, write, render and print; returns the exit code."""
        from saldiag.app.session.output import print_data

        diagnosis = self.conclude(verdict)
        print_data([self.reported(diagnosis)], self.output_format, self.fail_on)
        return self.code(diagnosis)

    def conclude(self, verdict: Verdict) -> Diagnosis:
        """Judge, and write the run whole."""
        [diagnosis] = with_diffs_added(
            [(self.judge(verdict), self.measured)], self.files.fingerprints()
        )
        self.close(diagnosis)
        return diagnosis

    def close(self, diagnosis: Diagnosis, status: Status = "finished") -> None:
        """Write the run whole."""
        from saldiag.app.session.output import write_outcome

        keep_fingerprints(self.run, diagnosis, self.files.fingerprints())
        data, _ = self.reported(diagnosis)
        write_outcome(self.run, data)
        self.write_info(status)

    def reported(self, diagnosis: Diagnosis) -> tuple[ReportData, Path]:
        """What the reports show, and the directory of the run."""
        from saldiag_reports.content.data import ReportData

        info = replace(self.info, missing=dict(self.measured.missing))
        return ReportData(diagnosis=diagnosis, measured=self.measured, info=info), self.run.path

    def code(self, diagnosis: Diagnosis) -> int:
        """The exit code."""
        return FOUND if diagnosis.failed(self.fail_on) else FINISHED

    def judge(self, verdict: Verdict | None = None) -> Diagnosis:
        """Run the rules over what was measured; the seconds from the start on are the total."""
        self.timings["total"] = round(time.monotonic() - self._began, 3)
        return super().judge(verdict)

    def keep(self, diagnosis: Diagnosis) -> None:
        """Write the diagnosis so far, should the process be killed."""
        self.run.write_diagnosis(diagnosis)

    def failed(self) -> None:
        """Mark the run as failed; take away one that holds nothing, leave one that was there."""
        if self._before is not None:
            self.run.write_info(self._before)
            return
        self.write_info("failed")
        self.run.discard()

    def interrupted(self, verdict: Verdict = "inconclusive") -> int:
        """Write the run as far as it came; returns the exit code.

        A second Ctrl-C ends this too: the measurements are written already.
        """
        self.write_info("interrupted")
        with self.console.status("interrupted: writing what was measured …"):
            [diagnosis] = with_diffs_added(
                [(self.judge(verdict), self.measured)], self.files.fingerprints()
            )
            self.close(diagnosis, "interrupted")
        self.console.print(
            f"interrupted; what was measured so far is in {self.run.path}",
            markup=False, highlight=False, soft_wrap=True,
        )  # fmt: skip
        return FAILED


def own_stdout(output_format: str) -> AbstractContextManager[object]:
    """In a format for programs stdout is the diagnosis alone: the user's code prints to stderr."""
    return nullcontext() if output_format == "text" else redirect_stdout(sys.stderr)


def versions() -> dict[str, str]:
    """Versions of what matters to a result."""
    found = {"saldiag": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@contextmanager
def guarded(session: Session) -> Iterator[None]:
    """Mark the run as failed where a command ends in an error that no Ctrl-C caused."""
    try:
        yield
    except BaseException as error:
        if not caused_by_interrupt(error):
            with suppress(SaldiagError):
                session.failed()
        raise


def run_session(session: Session, work: Callable[[], Verdict]) -> int:
    """Do a command's work with the framework's warnings recorded; returns the exit code."""
    from saldiag.subject.program.warning_log import recording_warnings

    verdict: Verdict = "inconclusive"
    try:
        with guarded(session):
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
        return session.interrupted(verdict)
