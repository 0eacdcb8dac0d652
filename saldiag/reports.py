"""The renderers under their public name: ``from saldiag.reports import render_html``."""

from __future__ import annotations

from saldiag_reports.data import ReportData
from saldiag_reports.html import render_html
from saldiag_reports.json_report import render_json
from saldiag_reports.reporter import write_reports
from saldiag_reports.tensorboard import write_tensorboard
from saldiag_reports.text import print_text, render_text

__all__ = [
    "ReportData",
    "print_text",
    "render_html",
    "render_json",
    "render_text",
    "write_reports",
    "write_tensorboard",
]
