"""Progress on stderr: a bar on a terminal, nothing elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn


@contextmanager
def overfit_progress(
    console: Console, budget: float
) -> Iterator[Callable[[int, float, float], None]]:
    """Show step, loss and time left of the overfit test; yields the function to call.

    ``budget`` is in seconds.
    """
    columns = (
        TextColumn("memorising"),
        BarColumn(bar_width=24),
        TextColumn("step {task.fields[step]}  loss {task.fields[loss]}  {task.fields[left]} left"),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("", total=budget, step=0, loss="-", left="")

        def update(step: int, loss: float, seconds_left: float) -> None:
            bar.update(
                task,
                completed=budget - max(seconds_left, 0.0),
                step=step,
                loss=f"{loss:.4g}",
                left=clock(seconds_left),
            )

        yield update


def clock(seconds: float) -> str:
    """Seconds as m:ss."""
    whole = max(int(seconds), 0)
    return f"{whole // 60}:{whole % 60:02d}"
