"""Options of the commands that take more than ``Options``: train, predict, compare."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from saldiag.app.session.flags import flag
from saldiag.app.session.options import (
    BackendChoice,
    Options,
    Pixels,
    backend_flag,
    custom_objects_flag,
    pixels_flag,
    unsafe_load_flag,
)
from saldiag.core.findings.finding import Severity
from saldiag.core.training.numbers import Precision, TrainingNumbers
from saldiag.core.training.schedule import PRESETS


@dataclass(frozen=True)
class RecipeOptions:
    """Numbers of quicksal's training recipe; None for the recipe's own."""

    base_learning_rate: float | None = flag(
        "quicksal: lower end of the cyclic learning rate.",
        default=None,
        shown_default="1e-4",
        above=0.0,
    )
    """Lower end of the cyclic learning rate."""
    max_learning_rate: float | None = flag(
        "quicksal: upper end of the cyclic learning rate.",
        default=None,
        shown_default="1e-3",
        above=0.0,
    )
    """Upper end of the cyclic learning rate."""
    step_size: int | None = flag(
        "quicksal: steps in half a cycle.", default=None, shown_default="2000", minimum=1
    )
    """Steps in half a cycle."""
    beta2: float | None = flag(
        "quicksal: squared beta of the F-beta metrics.",
        default=None,
        shown_default="0.3",
        above=0.0,
    )
    """Squared beta of the F-beta metrics."""

    def given_values(self) -> dict[str, Any]:
        """The numbers that were given, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class TrainOptions:
    """Options of ``saldiag train``."""

    shared: Options
    """Options that it shares with other commands."""
    precision: Precision = flag(
        "Dtype policy; auto is float32, or mixed_float16 for quicksal on a GPU.",
        default="auto",
    )
    """Dtype policy to build under, or ``auto``."""
    epochs: int = flag("Maximum number of epochs.", default=TrainingNumbers.epochs, minimum=1)
    """Epochs to train, unless it stops early."""
    patience: int = flag(
        "Epochs without a lower val_loss before the training stops.",
        default=TrainingNumbers.patience,
        minimum=1,
    )
    """Epochs without a lower validation loss before the training stops."""
    probes: str = flag("How often to measure gradients.", default="economy", choices=tuple(PRESETS))
    """Name of the schedule of the gradient probe."""
    recalibrate: bool = flag(
        "Before each validation, re-estimate BatchNorm's moving statistics from training batches.",
        default=False,
    )
    """Whether BatchNorm's statistics are re-estimated before each validation."""
    recipe: RecipeOptions = field(default_factory=RecipeOptions)
    """Numbers of the recipe, for registered models."""

    def given_options(self, *names: str) -> dict[str, Any]:
        """Those of the named shared options that were given."""
        values = {name: getattr(self.shared, name) for name in names}
        return {name: value for name, value in values.items() if value is not None}

    @property
    def training_numbers(self) -> dict[str, Any]:
        """Arguments of ``TrainingNumbers``."""
        return {
            **self.given_options("batch_size", "learning_rate"),
            "epochs": self.epochs,
            "patience": self.patience,
            "precision": self.precision,
            "seed": self.shared.seed,
            "recalibrate": self.recalibrate,
        }


@dataclass(frozen=True)
class PredictOptions:
    """Options of ``saldiag predict``."""

    checkpoint: str
    """A run of ``saldiag train``, a saved model, or ``FILE.py:FUNCTION``."""
    pictures: Path
    """An image, a folder of images, or images with ground truths."""
    out: Path = flag("Folder for the masks, outside the folder of the images.", metavar="DIR")
    """Folder for the masks."""
    image_size: int | None = flag(
        "Height and width of images in pixels; the default is the training size.",
        default=None,
        minimum=1,
    )
    """Side of the square images in pixels; None for the one it was trained at."""
    batch_size: int | None = flag(
        "Images in a batch; the default is 8, or 32 on a GPU.", default=None, minimum=1
    )
    """Images in a batch; None to choose by hardware."""
    pixels: Pixels = pixels_flag()
    """Range of pixel values that the model expects."""
    custom_objects: tuple[str, ...] = custom_objects_flag()
    """Modules with the classes that a saved model names."""
    unsafe_load: bool = unsafe_load_flag()
    """Whether code in a saved model may run."""
    backend: BackendChoice = backend_flag()
    """What to do if Keras is set to another backend than TensorFlow."""
    stretched: bool = flag(
        "Stretch each mask to 0…255 before it is scored, as published benchmarks do.",
        default=False,
        name="--stretch",
    )
    """Whether masks are stretched to the full range before they are scored."""
    output_format: str = "text"
    """``text`` or ``json``."""


@dataclass(frozen=True)
class CompareOptions:
    """Options of ``saldiag compare``."""

    runs: tuple[Path, ...]
    """Run directories; the first is the base."""
    output_format: str = "text"
    """``text`` or ``json``."""
    everything: bool = flag("Also list what is the same.", default=False, name="--all")
    """Whether to list what is the same as well."""
    html: Path | None = flag(
        "Write a page with the curves of all runs to FILE.", default=None, metavar="FILE"
    )
    """File for the page; None for no page."""
    fail_on_new: Severity | None = flag(
        "Exit with 1 if a later run has a finding of at least this severity that the first does"
        " not have.",
        default=None,
    )
    """Least severity of a new finding for exit code 1; None to ignore new findings."""
