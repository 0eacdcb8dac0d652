"""The options of the diagnosing commands, as plain data."""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from saldiag.app.session.flags import flag
from saldiag.app.session.settings import RuleChoice
from saldiag.core.findings.finding import Severity
from saldiag.core.garbage import collection_paused
from saldiag.core.interrupts import caused_by_interrupt
from saldiag.progress import startup
from saldiag_reports.formats.registry import format_names

Pixels = Literal["auto", "bytes", "unit", "signed"]
Precision = Literal["float32", "mixed_float16", "mixed_bfloat16"]
BackendChoice = Literal["tensorflow", "keep"]
"""What to do if Keras is set to another backend: run on TensorFlow, or refuse."""
FORMATS = ("text", "json")
"""Output formats of every command."""
CHECK_FORMATS = (*FORMATS, *(name for name in format_names() if name not in FORMATS))
"""Formats that a diagnosis can be printed in."""
DEFAULT_SUBSET = 0.1
"""Fraction of the training and of the validation samples if ``--subset`` is not given."""


def pixels_flag() -> Any:
    """The flag of ``pixels``, which several commands have."""
    return flag(
        "Range of the pixel values that your model expects: 0…255, 0…1, -1…1.", default="auto"
    )


def custom_objects_flag() -> Any:
    """The flag of ``custom_objects``, which several commands have."""
    return flag(
        "Module with the classes and functions that a .keras or .h5 file names.",
        default=(),
        metavar="MODULE|FILE.py",
    )


def unsafe_load_flag() -> Any:
    """The flag of ``unsafe_load``, which several commands have."""
    return flag(
        "Allow code in a saved model to run (Lambda layers, a SavedModel). For files you trust.",
        default=False,
    )


def backend_flag() -> Any:
    """The flag of ``backend``, which several commands have."""
    return flag(
        "If Keras is set to another backend: run on TensorFlow instead, or keep it and refuse.",
        default="tensorflow",
    )


@dataclass(frozen=True)
class ExperimentOptions:
    """Options of the experiments that follow the overfit test."""

    suspect: tuple[str, ...] = flag(
        'A suspected cause ("too much data"), rule or intervention, which is always tried.',
        default=(),
        metavar="WORDS",
    )
    """What the user suspects: words, rules or names of interventions; always tried."""
    budget: float = flag(
        "Time limit of the experiments: 90s, 2m, 10m.",
        default=120.0,
        shown_default="2m",
        metavar="TIME",
        duration=True,
    )
    """Seconds after which no further experiment starts."""
    jobs: int = flag(
        "Number of experiments that run at the same time, each in its own process.",
        default=1,
        minimum=1,
    )
    """Worker processes, or actors of the Ray cluster."""
    ray: str | None = flag(
        "Run experiments on the Ray cluster at ADDRESS (auto, HOST:PORT), with --jobs actors.",
        default=None,
        metavar="ADDRESS",
    )
    """Address of a Ray cluster; None for processes on this machine."""
    debug: bool = False
    """Whether worker processes show their output."""

    @property
    def uses_workers(self) -> bool:
        """Whether the experiments run in other processes."""
        return self.jobs > 1 or self.ray is not None

    def suspected_interventions(self) -> dict[str, tuple[str, ...]]:
        """Names of the interventions that test each suspicion. Imports TensorFlow.

        Raises:
            SaldiagError: no intervention tests one of the suspicions.
        """
        from saldiag.experiments.search.suspicion import interventions_for_words

        return {text: interventions_for_words(text) for text in self.suspect}


@dataclass(frozen=True)
class Options:
    """The command line as it was given; ``parse_request`` turns its strings into specs."""

    model: str = flag(
        "MODULE:FUNCTION or FILE.py:FUNCTION that returns a model; a .keras or .h5 file; a"
        " SavedModel folder; quicksal, or quicksal-as-reported[:FAULT,FAULT].",
        default="quicksal",
        metavar="WHICH",
    )
    """Spec of the model."""
    data: str | None = flag(
        "MODULE:FUNCTION or FILE.py:FUNCTION that returns what fit takes; .npz, .csv, .tfrecord;"
        " a folder of images for each class, images/ beside masks/, or MSRA10K's layout, zipped or"
        " not. The default is the built-in sample.",
        default=None,
        metavar="WHICH",
    )
    """Spec of the data; None for the built-in sample."""
    subset: float | None = flag(
        "Fraction of the training and of the validation split, or of the batches of a stream.",
        default=None,
        shown_default=f"{DEFAULT_SUBSET}",
        above=0.0,
        maximum=1.0,
    )
    """Fraction of the training and of the validation samples; None if not given."""
    image_size: int | None = flag(
        "Height and width of images in pixels, for models of any input size. By default chosen by"
        " hardware.",
        default=None,
        minimum=1,
    )
    """Side of square images, in pixels; None to choose by hardware."""
    batch_size: int | None = flag(
        "Samples in a batch. By default chosen by hardware.", default=None, minimum=1
    )
    """Items in a batch; None to choose by hardware."""
    inputs: tuple[str, ...] = flag(
        "Input columns, arrays or features. By default chosen by name.",
        default=(),
        metavar="NAME,NAME",
        separated=True,
    )
    """Columns or arrays that are the model's inputs; empty to find out."""
    target: str | None = flag("Column, array or feature to predict.", default=None, metavar="NAME")
    """Column or array that is the target; None to find out."""
    features: tuple[str, ...] = flag(
        "Shape and dtype of a TFRecord's features if the file does not say, such as"
        " image:28x28x1:uint8,label::int64; NAME::tensor for a serialized tensor.",
        default=(),
        metavar="NAME:SHAPE:DTYPE,…",
        separated=True,
    )
    """Features of a TFRecord, ``NAME:SHAPE:DTYPE``; empty to find out."""
    pixels: Pixels = pixels_flag()
    """Range of pixel values that the model expects."""
    loss: str | None = flag(
        "mse, bce, dice, … or FILE.py:FUNCTION. The default is the model's own loss, mae for"
        " quicksal.",
        default=None,
        metavar="NAME",
    )
    """Loss to compile with; None for the model's own."""
    optimizer: str | None = flag(
        "adam, sgd, … The default is the model's own optimizer, or Adam if it has none.",
        default=None,
        metavar="NAME",
    )
    """Optimizer to compile with; None for the model's own."""
    learning_rate: float | None = flag(
        "The default is the optimizer's own rate, 1e-3 for quicksal.", default=None, minimum=0.0
    )
    """Learning rate to compile with; None for the optimizer's own."""
    precision: Precision = flag("Dtype policy.", default="float32")
    """Global dtype policy."""
    weights: str = flag(
        "A file with the model's weights. For quicksal's encoder: auto, imagenet, random, or a"
        " .weights.h5, .keras or .npz file.",
        default="auto",
        metavar="WHICH",
    )
    """Weights to load: a file, or ``auto``, ``imagenet`` or ``random`` for an encoder."""
    custom_objects: tuple[str, ...] = custom_objects_flag()
    """Modules with the classes that a saved model names."""
    unsafe_load: bool = unsafe_load_flag()
    """Whether code in a saved model may run."""
    backend: BackendChoice = backend_flag()
    """What to do if Keras is set to another backend than TensorFlow."""
    seed: int = flag(
        "Seed of the split, the weights and the sample order.",
        default=0,
        minimum=0,
        maximum=2**32 - 1,
    )
    """Seed of split, weights and order."""
    out: Path | None = flag(
        "Run directory. The default is saldiag-runs/TIME-COMMAND-N.", default=None, metavar="DIR"
    )
    """Run directory; None for a new one in ``saldiag-runs``."""
    output_format: str = flag(
        "Output format; junit, sarif and github are for continuous integration.",
        default="text",
        name="--format",
        choices=CHECK_FORMATS,
    )
    """What to print, one of ``CHECK_FORMATS``."""
    fail_on: Severity = flag(
        "Exit with 1 if any finding has at least this severity.", default="error"
    )
    """Least severity of a finding for exit code 1."""
    steps: int = flag("Training steps to measure.", default=5, minimum=1)
    """Training steps that ``gradients`` measures."""
    budget: float = flag("Time limit of the training, in seconds.", default=180.0, minimum=1.0)
    """Seconds of training in the overfit test."""
    max_steps: int = flag("Maximum number of training steps.", default=400, minimum=1)
    """Training steps in the overfit test."""
    items: int | None = flag(
        "Number of samples to train on (0 = the whole subset). By default chosen by hardware.",
        default=None,
        minimum=0,
    )
    """Items that the overfit test memorises: 0 for all; None to choose by hardware."""
    rules: RuleChoice = field(default_factory=RuleChoice)
    """Rules to apply, as given on the command line."""
    experiments: ExperimentOptions | None = None
    """Experiments to run after the overfit test; None for none."""
    resume: bool = flag("Continue the experiments in --out.", default=False)
    """Whether to continue the run in ``out``."""
    command_line: tuple[str, ...] = ()
    """Arguments as typed, for ``run.json``; empty if not called from the command line."""

    def config(self) -> dict[str, Any]:
        """The options as ``run.json`` records them; the session adds the rules' settings."""
        values: dict[str, Any] = {
            key: str(v) if isinstance(v, Path) else v for key, v in asdict(self).items()
        }
        if self.experiments is not None:
            del values["experiments"]["debug"]
        hidden = ("rules", "resume", "command_line")
        return {key: value for key, value in values.items() if key not in hidden}


def prepare_environment(*, quiet: bool = False) -> None:
    """Import TensorFlow without its start-up lines; a log level that the user has set stays.

    Keras is set to run on TensorFlow.

    C++ code writes some of these lines before it reads any setting, so file descriptor 2 is
    redirected to a temporary file during the import. If the import fails, that file is shown.

    Args:
        quiet: whether nothing says on stderr that TensorFlow is being imported.

    Raises:
        SaldiagError: Keras is already imported, and runs on another backend.
    """
    from saldiag.subject.program.backend import select_tensorflow

    select_tensorflow()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    known = quiet or "tensorflow" in sys.modules
    shown = nullcontext() if known else startup("starting TensorFlow")
    with shown, collection_paused(lasting=True):
        _import_tensorflow()


def _import_tensorflow() -> None:
    sys.stderr.flush()
    with tempfile.TemporaryFile() as hidden:
        stderr = os.dup(2)
        os.dup2(hidden.fileno(), 2)
        try:
            import tensorflow as tf

            tf.config.list_physical_devices()
        except BaseException as error:
            if not caused_by_interrupt(error):
                hidden.seek(0)
                os.write(stderr, hidden.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def has_gpu() -> bool:
    """Whether TensorFlow sees a GPU."""
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))
