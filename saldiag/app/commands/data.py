"""``saldiag data``: check, fetch and sample."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

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

ROWS = 50
"""Defects listed on the screen; ``--format json`` has them all."""


def check(path: Path | None, seed: int, output_format: str) -> int:
    """``saldiag data check``: 1 if there are defects, 0 if there are none.

    Raises:
        DataError: there is no data set at ``path``.
    """
    from saldiag.core.files.jsonio import dumps
    from saldiag.image_masks.check_data import check_dataset, to_table

    with _progress("checking", MofNCompleteColumn()) as advance:
        report = check_dataset(path, seed, advance)
    if output_format == "json":
        sys.stdout.write(dumps(report.to_dict()) + "\n")
    else:
        Console().print(to_table(report, ROWS))
    return 1 if report.defects else 0


def fetch(destination: Path, url: str | None, sha256: str | None) -> int:
    """``saldiag data fetch``: download and verify the archive.

    Raises:
        DataError: offline, an error of the server, a full disk, or another file than expected.
    """
    from saldiag.image_masks.archive import PAIR_COUNT, URL, fetch_archive

    pairs = PAIR_COUNT if url is None else None
    columns = (DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with _progress("downloading", *columns) as advance:
        path = fetch_archive(destination, url or URL, sha256, advance, pairs=pairs)
    Console().print(f"{path}: verified", markup=False, highlight=False, soft_wrap=True)
    return 0


def sample(directory: Path, count: int, seed: int) -> int:
    """``saldiag data sample``: write the built-in sample as files.

    Raises:
        DataError: the directory holds something already, or cannot be written.
    """
    from saldiag.image_masks.sample import write_sample

    console = Console()
    with Console(stderr=True).status("drawing …"):
        written = write_sample(directory, count, seed)
    console.print(f"{directory}: {written} pairs", markup=False, highlight=False, soft_wrap=True)
    return 0


@contextmanager
def _progress(name: str, *columns: ProgressColumn) -> Iterator[Callable[[int, int | None], None]]:
    """A bar on stderr; yields a function of what is done and what there is in all."""
    console = Console(stderr=True)
    shown = [TextColumn(name), BarColumn(24), *columns]
    with Progress(*shown, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(name, total=None)

        def advance(done: int, total: int | None) -> None:
            bar.update(task, completed=done, total=total)

        yield advance
