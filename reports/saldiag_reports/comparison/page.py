"""A comparison as one offline HTML page in the style of a report."""

from __future__ import annotations

from markupsafe import Markup

from saldiag.core.comparison import Comparison
from saldiag_reports import plots
from saldiag_reports.comparison.lines import (
    change_summary,
    comparison_lines,
    comparison_title,
    lines_table,
    titled_diffs,
)
from saldiag_reports.formats.html import (
    MAX_ROWS,
    content_security_policy,
    read_asset,
    template_environment,
)

MAX_DIFF_LINES = 2000
"""Lines of a diff on the page."""


def render_comparison_html(comparison: Comparison, everything: bool = False) -> str:
    """The page: differences, curves, new and gone findings, changes of the code.

    Args:
        comparison: the runs to show.
        everything: whether to list rows that are the same in all runs.
    """
    lines = comparison_lines(comparison, everything)
    names = [run.name for run in comparison.runs]
    script, style = read_asset("sort.js"), read_asset("style.css") + read_asset("compare.css")
    return template_environment().get_template("compare.html.j2").render(
        comparison=comparison,
        title=comparison_title(comparison),
        summary=change_summary(comparison, lines),
        table_of_lines=lines_table([li for li in lines if everything or li.differs], names),
        picture=plots.plot_curves(comparison.curves, names, "plot-curves"),
        proof=lambda finding: finding.confirmed_by,  # the numbers are in the report of the run
        changed=[row for row in comparison.findings if {"new", "gone"} & set(row.changes)],
        diffs=[(name, *_first_diff_lines(text)) for name, text in titled_diffs(comparison)],
        script=Markup(script),  # noqa: S704 - a file of this package
        style=Markup(style),  # noqa: S704 - a file of this package
        policy=content_security_policy(script),
        max_rows=MAX_ROWS,
    )  # fmt: skip


def _first_diff_lines(text: str) -> tuple[list[tuple[str, str]], int]:
    """The first lines, each with its kind, and the number of lines left out."""
    lines = text.split("\n")[:-1]
    return [(_diff_line_kind(line), line) for line in lines[:MAX_DIFF_LINES]], max(
        len(lines) - MAX_DIFF_LINES, 0
    )


def _diff_line_kind(line: str) -> str:
    return {"+": "added", "-": "removed", "@": "place"}.get(line[:1], "kept")
