"""Options that several commands share. Imports no TensorFlow."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import click

from saldiag.app.session.options import CHECK_FORMATS, FORMATS, PIXELS, PRECISIONS, SHARE
from saldiag.core.findings.finding import SEVERITIES

F = TypeVar("F", bound=Callable[..., Any])


def _debug(_: click.Context, __: click.Parameter, value: bool) -> None:
    if value:
        os.environ["SALDIAG_DEBUG"] = "1"


def options_of(*decorators: Callable[[F], F]) -> Callable[[F], F]:
    """Several options as one decorator, shown in that order."""

    def apply(function: F) -> F:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return apply


class Finite(click.FloatRange):
    """A number in a range; nan and infinity are in none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number, or a usage error."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


class Duration(Finite):
    """Seconds from one on: ``90``, ``90s``, ``2m`` or ``1h``."""

    name = "duration"
    _UNITS: ClassVar[dict[str, int]] = {"s": 1, "m": 60, "h": 3600}

    def __init__(self) -> None:
        super().__init__(min=1.0)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The seconds, or a usage error."""
        if not isinstance(value, str) or value[-1:] not in self._UNITS:
            return super().convert(value, param, ctx)
        factor = self._UNITS[value[-1]]
        return super().convert(super().convert(value[:-1], param, ctx) * factor, param, ctx)


def _names(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in (value or "").split(",") if name.strip())


SEED = click.IntRange(0, 2**32 - 1)
POSITIVE = click.IntRange(min=1)
debug_option = click.option(
    "--debug", is_flag=True, expose_value=False, callback=_debug, help="Show tracebacks of errors."
)
out_option = click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Run directory; the default is saldiag-runs/TIME-COMMAND-N.",
)


def _format_option(formats: tuple[str, ...], told: str) -> Callable[[F], F]:
    return click.option(
        "--format",
        "output_format",
        type=click.Choice(formats),
        default="text",
        show_default=True,
        help=told,
    )


format_option = _format_option(FORMATS, "What to print.")
check_format_option = _format_option(
    CHECK_FORMATS, "What to print; the last three are for continuous integration."
)
fail_option = click.option(
    "--fail-on",
    type=click.Choice(SEVERITIES),
    default="error",
    show_default=True,
    help="Exit with 1 if a finding is at least this grave.",
)
seed_option = click.option(
    "--seed", type=SEED, default=0, show_default=True, help="Seeds split, weights, order."
)
custom_objects_option = click.option(
    "--custom-objects", multiple=True, metavar="MODULE|FILE.py",
    help="Where the classes and functions are that a .keras or .h5 file names.",
)  # fmt: skip
unsafe_option = click.option(
    "--unsafe-load", is_flag=True,
    help="Let code in a file run (Lambda layers, a SavedModel): files you trust only.",
)  # fmt: skip
model_options = options_of(
    click.option(
        "--model", default="quicksal", show_default=True, metavar="WHICH",
        help="MODULE:FUNCTION or FILE.py:FUNCTION that returns a model; a .keras or .h5 file, a"
        " SavedModel folder; quicksal, or quicksal-as-reported[:FAULT,FAULT].",
    ),
    click.option(
        "--weights", default="auto", show_default=True, metavar="WHICH",
        help="A file of the model's weights; for quicksal's encoder auto, imagenet, random, or a"
        " .weights.h5, .keras or .npz file.",
    ),
    custom_objects_option,
    unsafe_option,
    click.option(
        "--loss", metavar="NAME",
        help="mse, bce, dice, … or FILE.py:FUNCTION; the default is the model's own, mae for"
        " quicksal.",
    ),
    click.option(
        "--optimizer", metavar="NAME",
        help="adam, sgd, …; the default is the model's own, Adam where it has none.",
    ),
    seed_option,
)  # fmt: skip
precision_option = click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    default="float32",
    show_default=True,
    help="Dtype policy.",
)
pixels_option = click.option(
    "--pixels", type=click.Choice(PIXELS), default="auto", show_default=True,
    help="Range of pictures for your own model: 0…255, 0…1, -1…1.",
)  # fmt: skip
source_options = options_of(
    click.option(
        "--data", metavar="WHICH",
        help="MODULE:FUNCTION or FILE.py:FUNCTION that returns what fit takes; .npz, .csv,"
        " .tfrecord; a folder of pictures for each class, images/ beside masks/, or MSRA10K's"
        " layout, zipped or not; the default is the built-in sample.",
    ),
    click.option(
        "--target", metavar="NAME", help="Column, array or feature that is to be predicted."
    ),
    click.option(
        "--inputs", callback=_names, metavar="NAME,NAME",
        help="Columns, arrays or features that are the input; the default is by their names.",
    ),
    click.option(
        "--features", callback=_names, metavar="NAME:SHAPE:DTYPE,…",
        help="What features of a TFRecord hold where the file does not tell, as in"
        " image:28x28x1:uint8,label::int64; NAME::tensor for a serialized tensor.",
    ),
    pixels_option,
)  # fmt: skip
data_options = options_of(
    source_options,
    click.option(
        "--image-size", type=POSITIVE,
        help="Side in pixels where the model takes any; by hardware.",
    ),
    click.option("--batch-size", type=POSITIVE, help="Samples in a batch; by hardware."),
)  # fmt: skip
train_options = options_of(
    model_options,
    click.option(
        "--precision", type=click.Choice(("auto", *PRECISIONS)), default="auto",
        show_default=True,
        help="Dtype policy; auto is float32, for quicksal on a GPU mixed_float16.",
    ),
    source_options,
    click.option(
        "--subset", type=Finite(0.0, 1.0, min_open=True), default=1.0, show_default=True,
        help="Fraction of the training, the validation and the held-out part.",
    ),
    click.option(
        "--epochs", type=POSITIVE, default=50, show_default=True, help="Epochs at the most."
    ),
    click.option(
        "--image-size", type=POSITIVE, show_default="224",
        help="Side in pixels where the model takes any.",
    ),
    click.option(
        "--batch-size", type=POSITIVE, default=32, show_default=True, help="Samples in a batch."
    ),
    click.option(
        "--learning-rate", type=Finite(0.0, min_open=True),
        help="A constant rate; the default is the optimizer's own, for quicksal the cycle.",
    ),
    click.option(
        "--patience", type=POSITIVE, default=10, show_default=True,
        help="Epochs without a lower val_loss before the training stops.",
    ),
    click.option(
        "--recalibrate", is_flag=True,
        help="Before each validation, re-estimate BatchNorm's moving statistics from training"
        " batches.",
    ),
    click.option(
        "--base-learning-rate", type=Finite(0.0, min_open=True), show_default="1e-4",
        help="quicksal: lower end of the cycle.",
    ),
    click.option(
        "--max-learning-rate", type=Finite(0.0, min_open=True), show_default="1e-3",
        help="quicksal: upper end of the cycle.",
    ),
    click.option(
        "--step-size", type=POSITIVE, show_default="2000",
        help="quicksal: steps in half a cycle.",
    ),
    click.option(
        "--beta2", type=Finite(0.0, min_open=True), show_default="0.3",
        help="quicksal: squared beta of the F-beta metrics.",
    ),
)  # fmt: skip
subset_option = click.option(
    "--subset",
    type=Finite(0.0, 1.0, min_open=True),
    show_default=str(SHARE),
    help="Fraction of the training and of the validation split, or of the batches of a stream.",
)
rate_option = click.option(
    "--learning-rate",
    type=Finite(min=0.0),
    help="The default is the optimizer's own, 1e-3 for quicksal.",
)
rule_options = options_of(
    click.option(
        "--select", multiple=True, metavar="RULES",
        help="Rules that judge, by code, start of a code or name; separated by commas.",
    ),
    click.option(
        "--ignore", multiple=True, metavar="RULES", help="Rules that do not; likewise."
    ),
    click.option(
        "--config", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
        help="Settings; the default is the nearest saldiag.toml or pyproject.toml.",
    ),
)  # fmt: skip
suspect_option = click.option(
    "--suspect", multiple=True, metavar="WORDS",
    help="What you suspect (\"too much data\"), a rule or an experiment: it is tried in any case.",
)  # fmt: skip
experiment_options = options_of(
    click.option(
        "--experiments", is_flag=True,
        help="Then change one thing at a time, train anew, and tell which change helps.",
    ),
    suspect_option,
    click.option(
        "--experiments-budget", type=Duration(), default=120.0, show_default="2m",
        metavar="TIME", help="Time for --experiments at the most.",
    ),
)  # fmt: skip
output_options = options_of(out_option, check_format_option, fail_option, debug_option)
look_options = options_of(
    model_options,
    precision_option,
    data_options,
    subset_option,
    rate_option,
    rule_options,
    output_options,
)
predict_options = options_of(
    click.option(
        "--out", required=True, type=click.Path(path_type=Path), metavar="DIR",
        help="Folder for the masks, outside the folder of the pictures.",
    ),
    click.option(
        "--image-size", type=POSITIVE,
        help="Side in pixels for the model; the default is the one it was trained at.",
    ),
    click.option(
        "--batch-size", type=POSITIVE, help="Pictures at a time; by default 8, on a GPU 32."
    ),
    pixels_option,
    custom_objects_option,
    unsafe_option,
    click.option(
        "--stretch", "stretched", is_flag=True,
        help="Stretch each mask to 0…255 before it is scored, as published benchmarks do.",
    ),
)  # fmt: skip
compare_options = options_of(
    click.option("--all", "everything", is_flag=True, help="Tell what is the same as well."),
    click.option(
        "--html", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
        help="Write a page with the curves of all runs to FILE.",
    ),
    click.option(
        "--fail-on-new", type=click.Choice(SEVERITIES),
        help="Exit with 1 if a later run has a finding at least this grave that the first has not.",
    ),
)  # fmt: skip
