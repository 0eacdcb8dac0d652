"""A comparison for a terminal: notes, one table of what differs, the diffs."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from itertools import groupby

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from saldiag.core.comparison import Comparison
from saldiag.core.wording import grouped_count, shorten_end, shorten_middle, visible_text
from saldiag_reports.comparison.lines import Line, diffs, lines_of, summary
from saldiag_reports.formats.text import NARROWEST, write_captured

MAX_LINES = 30
"""Lines of one part of the table on a screen."""
MAX_DIFF = 60
"""Lines of a diff on a screen; the page and ``--all`` have the rest."""
STYLES = {"new": "red", "gone": "green"}
SIGNS = {"+": "green", "-": "red", "@": "cyan"}
NAME = 24
"""Characters of a run's name above its column; more on a wide screen."""
NOTHING = "Nothing differs, as far as it was recorded."


def render_comparison(comparison: Comparison, width: int = 80, everything: bool = False) -> str:
    """The comparison as plain text of at most ``width`` columns; only diffs may be longer.

    Args:
        comparison: the runs, compared.
        width: columns of the terminal.
        everything: whether to list what is the same in all runs too.
    """
    console = Console(
        file=io.StringIO(), width=max(width, NARROWEST), color_system=None, legacy_windows=False
    )
    with console.capture() as captured:
        _print(console, comparison, everything)
    return "".join(line.rstrip() + "\n" for line in captured.get().splitlines())


def print_comparison(comparison: Comparison, everything: bool = False) -> None:
    """Print it; in colour only on a terminal. What the encoding cannot hold becomes ``?``."""
    write_captured(Console(highlight=False), lambda to: _print(to, comparison, everything))


def _print(console: Console, comparison: Comparison, everything: bool) -> None:
    for block in _blocks(comparison, everything, console.width):
        # A diff is copied from here: only the terminal may wrap it.
        console.print(block, highlight=False, soft_wrap=isinstance(block, Text))


def _blocks(comparison: Comparison, everything: bool, width: int) -> Iterator[RenderableType]:
    for note in comparison.notes:
        yield Text(visible_text(note), style="yellow")
    lines = lines_of(comparison, everything)
    shown = [line for line in lines if everything or line.differs]
    if comparison.same:
        yield Text(NOTHING, style="bold")
    if shown:
        most = len(shown) if everything else MAX_LINES
        yield _table(shown, [run.name for run in comparison.runs], width, most)
        yield ""
    for title, diff in diffs(comparison):
        yield Text(visible_text(title), style="bold")
        yield from _diff(diff, everything)
        yield ""
    hint = "" if everything else " (--all lists them)"
    yield Text(summary(comparison, lines) + hint, style="dim")


def _table(lines: Sequence[Line], names: Sequence[str], width: int, most: int) -> RenderableType:
    table = RichTable(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("", overflow="fold", ratio=3)
    for name in names:
        shown = Text(shorten_middle(name, max(NAME, width // 3)))
        table.add_column(shown, overflow="fold", ratio=2)
    for part, held in groupby(lines, key=lambda line: line.part):
        table.add_row(Text(part, style="dim"))
        rows = list(held)
        for line in rows[:most]:
            table.add_row(Padding(Text(visible_text(line.what)), (0, 0, 0, 2)), *_cells(line))
        if more := len(rows[most:]):
            told = f"… and {grouped_count(more, 'line')} more (--all lists them)"
            table.add_row(Padding(Text(told, style="dim"), (0, 0, 0, 2)))
    return table


def _cells(line: Line) -> Iterator[Text]:
    for cell in line.cells:
        yield Text(shorten_end(cell, 160), style=STYLES.get(line.change, ""))


def _diff(text: str, everything: bool) -> Iterator[Text]:
    lines = text.split("\n")[:-1]
    shown = lines if everything else lines[:MAX_DIFF]
    for line in shown:
        yield Text(visible_text(line, keep="\t"), style=SIGNS.get(line[:1], ""))
    if more := len(lines) - len(shown):
        yield Text(f"… and {grouped_count(more, 'line')} more (--all shows them)", style="dim")
