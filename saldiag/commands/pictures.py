"""``saldiag data``: pairs of image and mask. Nothing of it needs TensorFlow."""

from __future__ import annotations

from pathlib import Path

import click

from saldiag.flags import POSITIVE, SEED, debug_option, format_option


@click.group()
def data() -> None:
    """Check a data set, fetch MSRA10K, write the built-in sample."""


@data.command("check")
@click.argument("path", type=click.Path(path_type=Path), required=False, metavar="[DIR|ZIP]")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Seed of the split.")
@format_option
@debug_option
def data_check(path: Path | None, seed: int, output_format: str) -> int:
    """List every defect; exit code 1 if there are any."""
    from saldiag.app import data as commands

    return commands.check(path, seed, output_format)


@data.command("fetch")
@click.argument("destination", type=click.Path(path_type=Path), default=Path())
@click.option("--url", help="Another place that has the archive.")
@click.option("--sha256", help="What the archive must hash to.")
@debug_option
def data_fetch(destination: Path, url: str | None, sha256: str | None) -> int:
    """Download MSRA10K (about 195 MB) to DESTINATION, and verify it.

    An unfinished download is resumed. The checksum is recorded on first use.
    """
    from saldiag.app import data as commands

    return commands.fetch(destination, url, sha256)


@data.command("sample")
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--count", type=POSITIVE, default=120, show_default=True, help="Pairs to draw.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Other pictures.")
@debug_option
def data_sample(directory: Path, count: int, seed: int) -> int:
    """Write the built-in sample to DIRECTORY."""
    from saldiag.app import data as commands

    return commands.sample(directory, count, seed)
