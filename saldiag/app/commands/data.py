"""``saldiag data``: check, fetch and sample data sets of images and masks."""

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

from saldiag.progress import stage

MAX_PRINTED_DEFECTS = 50
"""Largest number of defects on the screen; ``--format json`` has all."""


def check_data_set(path: Path | None, seed: int, output_format: str) -> int:
    """``saldiag data check``: print the defects; returns exit code 1 if there are any, else 0.

    Args:
        path: the data set; None for the built-in sample.
        seed: seed of the split.
        output_format: ``text`` or ``json``.

    Raises:
        DataError: there is no data set at ``path``.
    """
    from saldiag.core.files.jsonio import dumps
    from saldiag.image_masks.check_data import check_dataset, to_table

    with _progress_bar("checking", MofNCompleteColumn()) as advance:
        report = check_dataset(path, seed, advance)
    if output_format == "json":
        sys.stdout.write(dumps(report.to_dict()) + "\n")
    else:
        Console().print(to_table(report, MAX_PRINTED_DEFECTS))
    return 1 if report.defects else 0


def fetch_data_set(destination: Path, url: str | None, sha256: str | None) -> int:
    """``saldiag data fetch``: download and verify MSRA10K's archive; returns exit code 0.

    Args:
        destination: folder or file for the archive.
        url: address of the archive; None for the authors' server.
        sha256: expected hash in hex; None if it is unknown.

    Raises:
        DataError: no connection, an error of the server, a full disk, or an unexpected file.
    """
    from saldiag.image_masks.archive import PAIR_COUNT, URL, fetch_archive

    pairs = PAIR_COUNT if url is None else None
    columns = (DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with _progress_bar("downloading", *columns) as advance:
        path = fetch_archive(destination, url or URL, sha256, advance, pairs=pairs)
    Console().print(f"{path}: verified", markup=False, highlight=False, soft_wrap=True)
    return 0


def write_data_sample(directory: Path, count: int, seed: int) -> int:
    """``saldiag data sample``: write ``count`` pairs of the built-in sample; returns exit code 0.

    Raises:
        DataError: the directory is not empty, or cannot be written.
    """
    from saldiag.image_masks.sample import write_sample

    console = Console()
    with stage(Console(stderr=True), "drawing images"):
        written = write_sample(directory, count, seed)
    console.print(f"{directory}: {written} pairs", markup=False, highlight=False, soft_wrap=True)
    return 0


@contextmanager
def _progress_bar(
    name: str, *columns: ProgressColumn
) -> Iterator[Callable[[int, int | None], None]]:
    """A progress bar on stderr; yields a function of the work done and its total, or None."""
    console = Console(stderr=True)
    shown = [TextColumn(name), BarColumn(24), *columns]
    hidden = not console.is_terminal
    with (
        stage(console, name, own_display=True),
        Progress(*shown, console=console, transient=True, disable=hidden) as bar,
    ):
        task = bar.add_task(name, total=None)

        def advance(done: int, total: int | None) -> None:
            bar.update(task, completed=done, total=total)

        yield advance
