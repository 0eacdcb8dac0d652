"""Progress on a console: transient bars on a terminal, nothing elsewhere; durations as m:ss."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn

CountReporter: TypeAlias = Callable[[int, int | None], None]
"""Called with what is done and the total; the total is None if it is unknown."""


def report_no_count(done: int, total: int | None) -> None:
    """A ``CountReporter`` that shows nothing."""


def transient_bar(console: Console | None, *columns: ProgressColumn) -> Progress:
    """A bar that vanishes at its end; disabled without a console or where it is no terminal."""
    hidden = console is None or not console.is_terminal
    return Progress(*columns, console=console, transient=True, disable=hidden)


def print_line(console: Console, line: str) -> None:
    """Print one line as it is: no markup, no colours, no wrapping at the console's width."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def format_clock(seconds: float) -> str:
    """A duration as m:ss; negative ones are 0:00."""
    whole = max(int(seconds), 0)
    return f"{whole // 60}:{whole % 60:02d}"


@contextmanager
def overfit_progress(
    console: Console, budget: float
) -> Iterator[Callable[[int, float, float], None]]:
    """Show step, loss and time left of the overfit test.

    Args:
        console: where to show them.
        budget: seconds that the test may take.

    Yields:
        A function of the step's number, its loss and the seconds left.
    """
    columns = (
        TextColumn("memorising"),
        BarColumn(bar_width=24),
        TextColumn("step {task.fields[step]}  loss {task.fields[loss]}  {task.fields[left]} left"),
    )
    with transient_bar(console, *columns) as bar:
        task = bar.add_task("", total=budget, step=0, loss="-", left="")

        def update(step: int, loss: float, seconds_left: float) -> None:
            bar.update(
                task,
                completed=budget - max(seconds_left, 0.0),
                step=step,
                loss=f"{loss:.4g}",
                left=format_clock(seconds_left),
            )

        yield update
