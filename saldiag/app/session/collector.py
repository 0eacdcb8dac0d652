"""The measurements of one diagnosis, the reasons for missing ones, and the time of each phase."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console

from saldiag.app.session.judging import judge
from saldiag.core.config import RuleSettings
from saldiag.core.errors import SaldiagError
from saldiag.core.files.fingerprints import FilesSeen
from saldiag.core.findings.diagnosis import Diagnosis, Verdict
from saldiag.core.interrupts import reraise_interrupt
from saldiag.core.measurement import Measurement, Measurements


class Collector:
    """Holds measurements in memory. ``Session`` also writes them to a run directory.

    Args:
        settings: the rules that judge, with their thresholds; None for all rules with the default
            thresholds.
    """

    console: Console | None = None
    """Console for progress; None if nothing is shown."""

    def __init__(self, settings: RuleSettings | None = None) -> None:
        self.measured = Measurements()
        """The measurements so far, and why others are missing."""
        self.timings: dict[str, float] = {}
        """Seconds by the name of the phase."""
        self.settings = settings or RuleSettings()
        """The rules that judge, with their thresholds."""
        self.files = FilesSeen()
        """Fingerprints of the user's files that findings may point at."""

    @contextmanager
    def phase(self, name: str, *, own_display: bool = False) -> Iterator[None]:  # noqa: ARG002
        """Record the seconds that the block takes.

        Args:
            name: name of the phase, in ``timings``.
            own_display: whether the phase shows its own progress; a collector shows nothing.
        """
        begun = time.monotonic()
        try:
            yield
        finally:
            self.timings[name] = round(time.monotonic() - begun, 3)

    def add(self, *measurements: Measurement | None) -> None:
        """Add measurements; None is skipped."""
        for measurement in measurements:
            if measurement is not None:
                self.measured = self.measured.with_(measurement)

    def mark_missing(self, kind: type[Measurement], reason: str) -> None:
        """Record why a measurement is missing; no effect if it is there."""
        if self.measured.get(kind) is None:
            self.measured = self.measured.without(kind, reason)

    def try_measuring(
        self, kind: type[Measurement], measure: Callable[[], Measurement | None]
    ) -> None:
        """Add the result of ``measure``, or its error as the reason why ``kind`` is missing.

        Raises:
            SaldiagError: ``measure`` raised it; any other error never ends the diagnosis.
        """
        try:
            self.add(measure())
        except SaldiagError:
            raise
        except Exception as error:  # the diagnosis goes on without a broken probe
            reraise_interrupt(error)
            self.mark_missing(kind, error_line(error))

    def judge(self, verdict: Verdict | None = None) -> Diagnosis:
        """Run the rules on the measurements so far.

        Args:
            verdict: None for the verdict of the overfit test or of the training curves.

        Raises:
            SaldiagError: the settings name a rule or threshold that does not exist.
        """
        return judge(self.measured, self.settings, verdict=verdict, timings=self.timings)

    def write_partial(self, diagnosis: Diagnosis) -> None:
        """Write the diagnosis so far, in case the process is killed; does nothing in memory."""


def error_line(error: BaseException) -> str:
    """An error as one line of text, at most 300 characters; its type if it has no text."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__
