"""``saldiag data`` and ``saldiag predict``: pictures and masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from saldiag.cli.options import POSITIVE, SEED, debug_option, format_option, predict_options


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
    from saldiag.app.commands import data as commands

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
    from saldiag.app.commands import data as commands

    return commands.fetch(destination, url, sha256)


@data.command("sample")
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--count", type=POSITIVE, default=120, show_default=True, help="Pairs to draw.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Other pictures.")
@debug_option
def data_sample(directory: Path, count: int, seed: int) -> int:
    """Write the built-in sample to DIRECTORY."""
    from saldiag.app.commands import data as commands

    return commands.sample(directory, count, seed)


@click.command()
@click.argument("checkpoint")
@click.argument("pictures", type=click.Path(path_type=Path))
@predict_options
@format_option
@debug_option
def predict(**options: Any) -> int:
    """Write one mask for each of PICTURES with the model in CHECKPOINT.

    CHECKPOINT is a run of saldiag train (its best epoch), a .keras or .h5 file, a SavedModel
    folder, or FILE.py:FUNCTION. PICTURES is a picture, a folder of them, or pictures with ground
    truths: images/ beside masks/, or MSRA10K's layout, zipped or not.

    Each mask is an 8-bit grey PNG in its picture's own size. Where there are ground truths, a table
    has MAE, F-beta, S-measure and E-measure at their own size; DIR/predictions.json has them for
    each picture. saldiag train reports its metrics at the training size.

    Exit codes: 0 all done, 2 a picture or a ground truth could not be read (the others are done),
    or could not run.
    """
    from saldiag.app.commands.predict import PredictOptions
    from saldiag.app.commands.predict import predict as predict_masks

    return predict_masks(PredictOptions(**options))
