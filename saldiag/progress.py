"""Progress on stderr: spinners and bars on a terminal, a line for each long stage elsewhere."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn

SILENT_SECONDS = 2.0
"""A stage that takes longer is shown where there is no terminal."""
REPEATED_SECONDS = 60.0
"""Time between two lines on the same stage."""

CountReporter: TypeAlias = Callable[[int, int | None], None]
"""Called with what is done and the total; the total is None if it is unknown."""


def report_no_count(done: int, total: int | None) -> None:
    """A ``CountReporter`` that shows nothing."""


def transient_bar(console: Console | None, *columns: ProgressColumn) -> Progress:
    """A bar that vanishes at its end; disabled without a console or where it is no terminal."""
    from rich.progress import Progress

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
def stage(console: Console, name: str, *, own_display: bool = False) -> Iterator[None]:
    """Show what the block does: a spinner on a terminal, elsewhere lines if it takes long.

    Args:
        console: on stderr.
        name: what it does, such as ``reading data``.
        own_display: whether the block shows its own progress on a terminal.
    """
    if console.is_terminal:
        with nullcontext() if own_display else console.status(f"{name} …"):
            yield
        return
    ended = threading.Event()
    printer = threading.Thread(target=_print_until, args=(ended, console, name), daemon=True)
    printer.start()
    try:
        yield
    finally:
        ended.set()


def _print_until(ended: threading.Event, console: Console, name: str) -> None:
    if ended.wait(SILENT_SECONDS):
        return
    begun = time.monotonic() - SILENT_SECONDS
    print_line(console, f"saldiag: {name} …")
    while not ended.wait(REPEATED_SECONDS):
        spent = format_clock(time.monotonic() - begun)
        print_line(console, f"saldiag: {name} … ({spent} so far)")


@contextmanager
def startup(name: str) -> Iterator[None]:
    """Show at once what the block does, although it may redirect file descriptor 2."""
    if not sys.stderr.isatty():
        sys.stderr.write(f"saldiag: {name} …\n")
        sys.stderr.flush()
        yield
        return
    from rich.console import Console

    with (
        os.fdopen(os.dup(sys.stderr.fileno()), "w", encoding=sys.stderr.encoding) as stream,
        Console(file=stream, force_terminal=True).status(f"{name} …"),
    ):
        yield


@contextmanager
def overfit_progress(
    console: Console, budget: float, max_steps: int
) -> Iterator[Callable[[int, float, float], None]]:
    """Show step, loss and time left of the overfit test; the bar fills up to its nearest limit.

    Args:
        console: where to show them.
        budget: seconds that the test may take.
        max_steps: steps that it may take.

    Yields:
        A function of the step's number, its loss and the seconds left.
    """
    from rich.progress import BarColumn, TextColumn

    columns = (
        TextColumn("memorising"),
        BarColumn(bar_width=24),
        TextColumn(
            f"step {{task.fields[step]}} of {max_steps}  loss {{task.fields[loss]}}"
            "  {task.fields[left]} left"
        ),
    )
    with transient_bar(console, *columns) as bar:
        task = bar.add_task("", total=1.0, step=0, loss="-", left=format_clock(budget))

        def update(step: int, loss: float, seconds_left: float) -> None:
            bar.update(
                task,
                completed=max(1.0 - max(seconds_left, 0.0) / budget, step / max_steps),
                step=step,
                loss=f"{loss:.4g}",
                left=format_clock(seconds_left),
            )

        yield update
