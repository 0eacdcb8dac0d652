"""A comparison for a terminal: notes, a table of the differences, the diffs."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from itertools import groupby

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from saldiag.core.comparison import Comparison
from saldiag.core.wording import grouped_count, plain, shorten_end, shorten_middle
from saldiag_reports.comparison.lines import Line, change_summary, comparison_lines, titled_diffs
from saldiag_reports.formats.printed.text import MIN_WIDTH, write_captured

MAX_LINES = 30
"""Lines of each part of the table; ``--all`` prints all."""
MAX_DIFF_LINES = 60
"""Lines of a diff; the page and ``--all`` have the rest."""
CHANGE_STYLES = {"new": "red", "gone": "green"}
DIFF_STYLES = {"+": "green", "-": "red", "@": "cyan"}
MIN_NAME_CHARACTERS = 24
"""Characters of a run's name above its column; there are more on a wide screen."""
NO_DIFFERENCE = "No recorded value differs."


def render_comparison(comparison: Comparison, width: int = 80, everything: bool = False) -> str:
    """The comparison as plain text of at most ``width`` columns; only diffs may be longer.

    Args:
        comparison: the runs to show.
        width: width of the terminal in columns.
        everything: whether to list rows that are the same in all runs.
    """
    console = Console(
        file=io.StringIO(), width=max(width, MIN_WIDTH), color_system=None, legacy_windows=False
    )
    with console.capture() as captured:
        _print_blocks(console, comparison, everything)
    return "".join(line.rstrip() + "\n" for line in captured.get().splitlines())


def print_comparison(comparison: Comparison, everything: bool = False) -> None:
    """Print the comparison, in colour if stdout is a terminal.

    Characters that the encoding does not have become ``?``.
    """
    write_captured(
        Console(highlight=False), lambda console: _print_blocks(console, comparison, everything)
    )


def _print_blocks(console: Console, comparison: Comparison, everything: bool) -> None:
    for block in _comparison_blocks(comparison, everything, console.width):
        # Users copy diffs: only the terminal may wrap their lines.
        console.print(block, highlight=False, soft_wrap=isinstance(block, Text))


def _comparison_blocks(
    comparison: Comparison, everything: bool, width: int
) -> Iterator[RenderableType]:
    for note in comparison.notes:
        yield Text(plain(note), style="yellow")
    lines = comparison_lines(comparison, everything)
    shown = [line for line in lines if everything or line.differs]
    if comparison.same:
        yield Text(NO_DIFFERENCE, style="bold")
    if shown:
        most = len(shown) if everything else MAX_LINES
        yield _differences_table(shown, [run.name for run in comparison.runs], width, most)
        yield ""
    for title, diff in titled_diffs(comparison):
        yield Text(plain(title), style="bold")
        yield from _diff_texts(diff, everything)
        yield ""
    hint = "" if everything else " (--all lists them)"
    yield Text(change_summary(comparison, lines) + hint, style="dim")


def _differences_table(
    lines: Sequence[Line], names: Sequence[str], width: int, most: int
) -> RenderableType:
    table = RichTable(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("", overflow="fold", ratio=3)
    for name in names:
        shown = Text(shorten_middle(name, max(MIN_NAME_CHARACTERS, width // 3)))
        table.add_column(shown, overflow="fold", ratio=2)
    for part, group in groupby(lines, key=lambda line: line.part):
        table.add_row(Text(part, style="dim"))
        rows = list(group)
        for line in rows[:most]:
            table.add_row(Padding(Text(plain(line.what)), (0, 0, 0, 2)), *_cell_texts(line))
        if more := len(rows[most:]):
            note = f"… and {grouped_count(more, 'more line')} (--all lists them)"
            table.add_row(Padding(Text(note, style="dim"), (0, 0, 0, 2)))
    return table


def _cell_texts(line: Line) -> Iterator[Text]:
    for cell in line.cells:
        yield Text(shorten_end(cell, 160), style=CHANGE_STYLES.get(line.change, ""))


def _diff_texts(text: str, everything: bool) -> Iterator[Text]:
    lines = text.split("\n")[:-1]
    shown = lines if everything else lines[:MAX_DIFF_LINES]
    for line in shown:
        yield Text(plain(line, keep="\t"), style=DIFF_STYLES.get(line[:1], ""))
    if more := len(lines) - len(shown):
        yield Text(f"… and {grouped_count(more, 'more line')} (--all shows them)", style="dim")
