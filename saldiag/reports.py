"""The public names of the renderers: ``from saldiag.reports import render_html``."""

from __future__ import annotations

from saldiag_reports.content.data import ReportData
from saldiag_reports.formats.html import render_html
from saldiag_reports.formats.printed.json import render_json
from saldiag_reports.formats.printed.text import print_text, render_text
from saldiag_reports.formats.tensorboard import write_tensorboard
from saldiag_reports.writer import write_reports

__all__ = [
    "ReportData",
    "print_text",
    "render_html",
    "render_json",
    "render_text",
    "write_reports",
    "write_tensorboard",
]
