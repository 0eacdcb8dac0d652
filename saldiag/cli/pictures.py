"""``saldiag data`` and ``saldiag predict``: images and masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from saldiag.app.session.command_options import PredictOptions
from saldiag.cli.options import POSITIVE, SEED, debug_option, format_option, option_for, options_for


@click.group()
def data() -> None:
    """Check a data set, download MSRA10K, write the built-in sample."""


@data.command("check")
@click.argument("path", type=click.Path(path_type=Path), required=False, metavar="[DIR|ZIP]")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Seed of the split.")
@format_option
@debug_option
def data_check(path: Path | None, seed: int, output_format: str) -> int:
    """List every defect; exit code 1 if there are any."""
    from saldiag.app.commands import data as commands

    return commands.check_data_set(path, seed, output_format)


@data.command("fetch")
@click.argument("destination", type=click.Path(path_type=Path), default=Path())
@click.option("--url", help="Address of the archive.")
@click.option("--sha256", help="Expected SHA-256 of the archive.")
@debug_option
def data_fetch(destination: Path, url: str | None, sha256: str | None) -> int:
    """Download MSRA10K (about 195 MB) to DESTINATION and verify it.

    An unfinished download is resumed. The checksum is recorded on first use.
    """
    from saldiag.app.commands import data as commands

    return commands.fetch_data_set(destination, url, sha256)


@data.command("sample")
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--count", type=POSITIVE, default=120, show_default=True, help="Number of pairs.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Seed of the images.")
@debug_option
def data_sample(directory: Path, count: int, seed: int) -> int:
    """Write the built-in sample to DIRECTORY."""
    from saldiag.app.commands import data as commands

    return commands.write_data_sample(directory, count, seed)


@click.command()
@click.argument("checkpoint")
@click.argument("pictures", type=click.Path(path_type=Path))
@option_for(PredictOptions, "out", required=True)
@options_for(
    PredictOptions,
    "image_size",
    "batch_size",
    "pixels",
    "custom_objects",
    "unsafe_load",
    "backend",
    "stretched",
)
@format_option
@debug_option
def predict(**parameters: Any) -> int:
    """Write one mask for each of PICTURES with the model in CHECKPOINT.

    CHECKPOINT is a run of saldiag train (its best epoch), a .keras or .h5 file, a SavedModel
    folder, or FILE.py:FUNCTION. PICTURES is an image, a folder of images, or images with ground
    truths: images/ beside masks/, or MSRA10K's layout, zipped or not.

    Each mask is an 8-bit grey PNG of its image's own size. If there are ground truths, a table
    shows MAE, F-beta, S-measure and E-measure at that size, and DIR/predictions.json has them for
    each image. saldiag train reports its metrics at the training size.

    Exit codes: 0 all done, 2 an image or a ground truth could not be read (the others are done), or
    could not run.
    """
    from saldiag.app.commands.predict import predict as predict_masks

    return predict_masks(PredictOptions(**parameters))


COMMANDS: tuple[click.Command, ...] = (data, predict)
