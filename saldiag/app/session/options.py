"""What the command line asks for, as plain data."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from saldiag.app.session.settings import RuleChoice
from saldiag.core.findings.finding import Severity

Pixels = Literal["auto", "bytes", "unit", "signed"]
PIXELS: tuple[Pixels, ...] = get_args(Pixels)
Precision = Literal["float32", "mixed_float16", "mixed_bfloat16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
FORMATS = ("text", "json")
"""What every command prints."""
CHECK_FORMATS = (*FORMATS, "junit", "sarif", "github")
"""What a diagnosis is printed as: the last three are for continuous integration."""

SMALL = (96, 8)
"""Image size and batch for a machine without a GPU: a verdict on two cores takes two minutes."""
SHARE = 0.1
"""Of the training and of the validation split, where nothing is said."""
FULL = (224, 32)
"""Image size and batch of the recipe."""


_invocation: list[str] = []


def note_invocation(arguments: Sequence[str]) -> None:
    """Remember what the command line was called with, for ``run.json``."""
    _invocation[:] = arguments


def invocation(command: str) -> tuple[str, ...]:
    """The whole command; just its name where it was not called from the command line."""
    return ("saldiag", *(_invocation or [command]))


@dataclass(frozen=True)
class Wishes:
    """What is asked of experiments.

    ``suspect`` are the user's own words. They end after ``budget`` seconds. ``jobs`` are worker
    processes, or actors of the cluster at ``ray``.
    """

    suspect: tuple[str, ...] = ()
    budget: float = 120.0
    jobs: int = 1
    ray: str | None = None

    @property
    def elsewhere(self) -> bool:
        """Whether other processes make them."""
        return self.jobs > 1 or self.ray is not None

    def meant(self) -> dict[str, tuple[str, ...]]:
        """What each suspicion means.

        Raises:
            SaldiagError: no experiment answers to one.
        """
        from saldiag.experiments.search.suspicion import interventions_for_words

        return {text: interventions_for_words(text) for text in self.suspect}


@dataclass(frozen=True)
class Options:
    """Options that commands share; a command reads those that make sense for it.

    ``subset`` is None where nothing is said, which is ``SHARE`` where it can be had.
    ``image_size`` and ``batch_size`` are chosen by the hardware where they are ``None``;
    ``items`` likewise (how many samples the overfit test memorises, 0 meaning all of the subset).
    ``loss``, ``optimizer`` and ``learning_rate`` are the model's own where they are ``None``; the
    built-in models have MAE, Adam and 1e-3.
    """

    model: str = "quicksal"
    data: str | None = None
    subset: float | None = None
    image_size: int | None = None
    batch_size: int | None = None
    inputs: tuple[str, ...] = ()
    target: str | None = None
    features: tuple[str, ...] = ()
    pixels: Pixels = "auto"
    loss: str | None = None
    optimizer: str | None = None
    learning_rate: float | None = None
    precision: Precision = "float32"
    weights: str = "auto"
    custom_objects: tuple[str, ...] = ()
    unsafe_load: bool = False
    seed: int = 0
    out: Path | None = None
    output_format: str = "text"
    fail_on: Severity = "error"
    steps: int = 5
    budget: float = 180.0
    max_steps: int = 400
    items: int | None = None
    rules: RuleChoice = field(default_factory=RuleChoice)
    experiments: Wishes | None = None
    resume: bool = False

    @property
    def share(self) -> float:
        """Of the items, where their number is known."""
        return SHARE if self.subset is None else self.subset

    def config(self) -> dict[str, Any]:
        """The options as ``run.json`` records them; what holds of the rules is the session's."""
        values = {key: str(v) if isinstance(v, Path) else v for key, v in asdict(self).items()}
        return {key: value for key, value in values.items() if key not in ("rules", "resume")}


def prepare_environment() -> None:
    """Import TensorFlow without its start-up lines; a log level that the user has set stays.

    Some of them are written by C++ code before any setting is read, so file descriptor 2 points
    elsewhere for the moment. If the import fails, what was written there is shown.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    with tempfile.TemporaryFile() as hidden:
        stderr = os.dup(2)
        os.dup2(hidden.fileno(), 2)
        try:
            import tensorflow as tf

            tf.config.list_physical_devices()
        except BaseException:
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


def sizes(options: Options) -> tuple[int, int]:
    """Image size and batch size: as asked for, else by the hardware."""
    image, batch = FULL if has_gpu() else SMALL
    return options.image_size or image, options.batch_size or batch


def memorised_items(options: Options, batch_size: int, subset_items: int) -> int:
    """How many samples the overfit test memorises: whole batches, by the hardware."""
    if options.items == 0:
        return subset_items
    if options.items is not None:
        return min(options.items, subset_items)
    return min(batch_size * (16 if has_gpu() else 1), subset_items)
