"""What a diagnosis has measured so far, why other things are missing, and how long each took."""

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
    """Keeps measurements in memory; a command's session also writes them as they come.

    Args:
        settings: which rules judge, and with which thresholds; default: all, with their own.
    """

    console: Console | None = None
    """Where a session shows its progress; in memory there is none."""

    def __init__(self, settings: RuleSettings | None = None) -> None:
        self.measured = Measurements()
        self.timings: dict[str, float] = {}
        self.settings = settings or RuleSettings()
        self.files = FilesSeen()
        """Fingerprints of the user's files that findings may point at, as they are now."""

    @contextmanager
    def phase(self, name: str, *, own_display: bool = False) -> Iterator[None]:  # noqa: ARG002
        """Time a phase; ``own_display`` is for whoever shows the phase's name."""
        begun = time.monotonic()
        try:
            yield
        finally:
            self.timings[name] = round(time.monotonic() - begun, 3)

    def add(self, *measurements: Measurement | None) -> None:
        """Keep what was measured; None is nothing."""
        for measurement in measurements:
            if measurement is not None:
                self.measured = self.measured.with_(measurement)

    def missing(self, kind: type[Measurement], reason: str) -> None:
        """Note why a measurement is not there."""
        if self.measured.get(kind) is None:
            self.measured = self.measured.without(kind, reason)

    def attempt(self, kind: type[Measurement], measure: Callable[[], Measurement | None]) -> None:
        """Measure; a probe that fails leaves its reason and never ends the diagnosis."""
        try:
            self.add(measure())
        except SaldiagError:
            raise
        except Exception as error:  # a broken probe must not cost the diagnosis
            reraise_interrupt(error)
            self.missing(kind, one_line(error))

    def judge(self, verdict: Verdict | None = None) -> Diagnosis:
        """Run the rules over what was measured; the default verdict is the overfit test's.

        Raises:
            SaldiagError: the settings name what does not exist.
        """
        return judge(self.measured, self.settings, verdict=verdict, timings=self.timings)

    def keep(self, diagnosis: Diagnosis) -> None:
        """Keep what the rules say so far, should the process be killed; in memory it is lost."""


def one_line(error: BaseException) -> str:
    """An error as one line: its type where it has no text."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__
