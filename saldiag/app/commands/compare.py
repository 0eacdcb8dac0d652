"""``saldiag compare``: what changed between recorded runs."""

from __future__ import annotations

import sys
from pathlib import Path

from saldiag.app.session.command_options import CompareOptions
from saldiag.core.comparison import Comparison, compare_runs
from saldiag.core.errors import RunError
from saldiag.progress import startup


def compare(options: CompareOptions) -> int:
    """Compare the runs with the first; returns the exit code.

    Raises:
        RunError: there is no run at a path, or it cannot be read; the page cannot be written; or
            ``fail_on_new`` is given and a run has no diagnosis.
    """
    comparison = compare_runs(options.runs)
    if options.fail_on_new is not None:
        _refuse_unjudged(comparison)
    if options.html is not None:
        _write_page(comparison, options.html, options.everything)
    _print_outcome(comparison, options)
    return 1 if options.fail_on_new and comparison.new(options.fail_on_new) else 0


def _refuse_unjudged(comparison: Comparison) -> None:
    """Refuse runs without a diagnosis, which may have new findings: that is not a pass."""
    for run in comparison.runs:
        if run.diagnosis is None:
            raise RunError(
                f"{run.path}: has no diagnosis, which --fail-on-new needs:"
                " `saldiag report RUN --rules` creates one"
            )


def _write_page(comparison: Comparison, path: Path, everything: bool) -> None:
    from saldiag_reports.comparison.page import render_comparison_html
    from saldiag_reports.files import write_bytes

    with startup("drawing the curves"):
        page = render_comparison_html(comparison, everything)
    write_bytes(path, page.encode("utf-8"), option="--html")


def _print_outcome(comparison: Comparison, options: CompareOptions) -> None:
    if options.output_format == "json":
        from saldiag_reports.comparison.document import render_comparison_json

        sys.stdout.write(render_comparison_json(comparison, options.everything))
        return
    from saldiag_reports.comparison.text import print_comparison

    print_comparison(comparison, options.everything)
