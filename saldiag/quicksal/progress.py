"""A progress bar on a terminal, nothing elsewhere; work calls ``advance(done, total)``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

Advance: TypeAlias = Callable[[int, int | None], None]
"""``advance(done, total)``; ``total`` is None where it is not known."""


def silent(done: int, total: int | None) -> None:
    """Show nothing."""


@contextmanager
def progress_bar(console: Console, title: str, *, transfer: bool = False) -> Iterator[Advance]:
    """Show a bar until the block ends; yields the function to call.

    Args:
        console: where to; not a terminal: nothing is shown.
        title: what is being done; no markup.
        transfer: count in bytes, with speed.
    """
    counts: tuple[ProgressColumn, ...] = (MofNCompleteColumn(),)
    if transfer:
        counts = (DownloadColumn(), TransferSpeedColumn())
    label = TextColumn("{task.description}", markup=False)
    columns = (label, BarColumn(bar_width=24), *counts, TimeRemainingColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
