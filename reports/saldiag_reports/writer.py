"""Who owns the files: each reporter makes bytes, and one function puts them on the disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from saldiag.core.errors import RunError
from saldiag.core.files.jsonio import atomic_file
from saldiag_reports.content.data import ReportData

EVENTS_FILE = "events.out.tfevents.0.saldiag"
"""Always the same, so that drawing a run again replaces what was there."""


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


def _json(data: ReportData) -> bytes:
    from saldiag_reports.formats.json_document import render_json

    return render_json(data).encode("utf-8")


def _html(data: ReportData) -> bytes:
    from saldiag_reports.formats.html import render_html

    return render_html(data).encode("utf-8")


def _events(data: ReportData) -> bytes:
    from saldiag_reports.formats.tensorboard import render_events

    return render_events(data)


REPORTERS: tuple[Reporter, ...] = (
    Rendered("diagnosis.json", _json),
    Rendered("report.html", _html),
    Rendered(f"tensorboard/{EVENTS_FILE}", _events),
)
"""What a run gets: the cheapest and most important first."""


def write_reports(
    data: ReportData, directory: Path, reporters: tuple[Reporter, ...] = REPORTERS
) -> None:
    """Write each report into ``directory``: whole, or as it was before.

    Raises:
        RunError: a file cannot be written.
    """
    for reporter in reporters:
        write_bytes(directory / reporter.output, reporter.render(data))


def write_bytes(path: Path, content: bytes, option: str = "--out") -> None:
    """Write ``content`` to ``path`` as a whole or not at all; ``option`` is what names the path.

    Raises:
        RunError: it cannot be written; what was there is still there.
    """
    try:
        with atomic_file(path, "wb") as stream:
            stream.write(content)
    except OSError as error:
        reason = error.strerror or str(error)
        raise RunError(f"{path}: cannot be written ({reason}): choose another {option}") from error
