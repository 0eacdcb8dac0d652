"""Who owns the files: each reporter makes bytes, and one function puts them on the disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from saldiag_reports.content.data import ReportData
from saldiag_reports.files import EVENTS_FILE, write_bytes


class Reporter(Protocol):
    """A format of the report; ``output`` is its file, relative to the run directory."""

    @property
    def output(self) -> str:
        """The file it makes."""

    def render(self, data: ReportData) -> bytes:
        """The whole file's content. Decides nothing and touches no disk."""


@dataclass(frozen=True)
class Rendered:
    """A reporter from a function; what draws is imported only when it draws."""

    output: str
    make: Callable[[ReportData], bytes]

    def render(self, data: ReportData) -> bytes:
        """The whole file's content."""
        return self.make(data)


def _html(data: ReportData) -> bytes:
    from saldiag_reports.formats.html import render_html

    return render_html(data).encode("utf-8")


def _events(data: ReportData) -> bytes:
    from saldiag_reports.formats.tensorboard import render_events

    return render_events(data)


REPORTERS: tuple[Reporter, ...] = (
    Rendered("report.html", _html),
    Rendered(f"tensorboard/{EVENTS_FILE}", _events),
)
"""What is drawn of a run, beside ``diagnosis.json``: the cheapest and most important first."""


def write_reports(
    data: ReportData, directory: Path, reporters: tuple[Reporter, ...] = REPORTERS
) -> None:
    """Write each report into ``directory``: whole, or as it was before.

    Raises:
        RunError: a file cannot be written.
    """
    for reporter in reporters:
        write_bytes(directory / reporter.output, reporter.render(data))
