"""The files that are rendered for a run, and writing them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from saldiag_reports.content.data import ReportData
from saldiag_reports.files import EVENTS_FILE, write_bytes


@dataclass(frozen=True)
class RunFile:
    """A file that is rendered for every run."""

    path: str
    """The file, relative to the run directory."""
    render: Callable[[ReportData], bytes]
    """Makes the whole content; imports its plotting libraries only when called."""


def _report_html(data: ReportData) -> bytes:
    from saldiag_reports.formats.html import render_html

    return render_html(data).encode("utf-8")


def _tensorboard_events(data: ReportData) -> bytes:
    from saldiag_reports.formats.tensorboard import render_events

    return render_events(data)


RUN_FILES: tuple[RunFile, ...] = (
    RunFile("report.html", _report_html),
    RunFile(f"tensorboard/{EVENTS_FILE}", _tensorboard_events),
)
"""The files beside ``diagnosis.json``, in the order in which they are written: if a later one
fails, the report is there."""


def write_reports(
    data: ReportData, directory: Path, run_files: tuple[RunFile, ...] = RUN_FILES
) -> None:
    """Write each file into ``directory``, atomically.

    Raises:
        RunError: a file cannot be written; an existing one is unchanged.
    """
    for run_file in run_files:
        write_bytes(directory / run_file.path, run_file.render(data))
