"""A comparison as one offline page, with the looks of a report."""

from __future__ import annotations

from markupsafe import Markup

from saldiag.core.comparison import Comparison
from saldiag_reports import plots
from saldiag_reports.comparison.lines import diffs, lines_of, summary, table_of, title
from saldiag_reports.formats.html import MAX_ROWS, asset, environment, policy

MAX_DIFF = 2000
"""Lines of a diff in the page."""


def render_comparison_html(comparison: Comparison, everything: bool = False) -> str:
    """The page: what differs, the curves, what was found anew or no more, the code.

    Args:
        comparison: the runs, compared.
        everything: whether to list what is the same in all runs too.
    """
    lines = lines_of(comparison, everything)
    names = [run.name for run in comparison.runs]
    script, style = asset("sort.js"), asset("style.css") + asset("compare.css")
    return environment().get_template("compare.html.j2").render(
        comparison=comparison,
        title=title(comparison),
        summary=summary(comparison, lines),
        table_of_lines=table_of([li for li in lines if everything or li.differs], names),
        picture=plots.plot_curves(comparison.curves, names, "plot-curves"),
        proof=lambda finding: finding.confirmed_by,  # its numbers are in the run's own report
        changed=[row for row in comparison.findings if {"new", "gone"} & set(row.changes)],
        diffs=[(name, *_limited(text)) for name, text in diffs(comparison)],
        script=Markup(script),  # noqa: S704 - a file of this package
        style=Markup(style),  # noqa: S704 - a file of this package
        policy=policy(script),
        max_rows=MAX_ROWS,
    )  # fmt: skip


def _limited(text: str) -> tuple[list[tuple[str, str]], int]:
    """Lines with what each is, and how many are left out."""
    lines = text.split("\n")[:-1]
    return [(_kind(line), line) for line in lines[:MAX_DIFF]], max(len(lines) - MAX_DIFF, 0)


def _kind(line: str) -> str:
    return {"+": "added", "-": "removed", "@": "place"}.get(line[:1], "kept")
