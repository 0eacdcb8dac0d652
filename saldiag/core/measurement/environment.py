"""Measurements of the environment: warnings, seeds, source files, the program's own error."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from saldiag.core.measurement.base import Measurement, Source


@dataclass(frozen=True)
class RecordedWarning:
    """One warning of Keras or TensorFlow."""

    category: str
    """Class name of the warning, or ``NAME logger`` for a log record."""
    message: str
    """Text of the warning."""
    file: str
    """Path of the user's file that caused it; empty if unknown."""
    line: int
    """Line in that file, from 1; 0 if unknown."""
    silenced: bool
    """Whether the program's filters or log level hide it."""
    count: int = 1
    """How often it was given at this line."""
    silenced_by: Source | None = None
    """Line where the program installs the filter that hides it; None if unknown or not hidden."""


@dataclass(frozen=True)
class WarningLog(Measurement):
    """Warnings of Keras and TensorFlow, recorded whatever the program's warning filters are."""

    key: ClassVar[str] = "warnings"
    position: ClassVar[int] = 10
    warnings: tuple[RecordedWarning, ...]
    """The warnings, in the order of their first appearance."""
    filters: tuple[Source, ...] = ()
    """Lines where the program installs a filter, still active at its end, that hides all
    UserWarnings of Keras."""


@dataclass(frozen=True)
class ForeignObject:
    """An object of the Keras before Keras 3 in a Keras 3 model."""

    place: str
    """Attribute path where the model holds it (``encoder/old_layers``), ``optimizer``, ``loss`` or
    ``callbacks[INDEX]``."""
    kind: str
    """Its class name."""
    package: str
    """Package that its class comes from (``tf_keras``, ``tensorflow.python.keras``, ...)."""
    parameters: int
    """Number of elements in its trainable weights."""
    layer: str | None = None
    """Path of the Keras 3 layer that holds it; None if no layer does."""


@dataclass(frozen=True)
class ForeignObjects(Measurement):
    """Objects of the Keras before Keras 3 in a Keras 3 model, its optimizer, loss and callbacks."""

    key: ClassVar[str] = "foreign"
    position: ClassVar[int] = 16
    objects: tuple[ForeignObject, ...]
    """The objects, each once."""


@dataclass(frozen=True)
class Seeds(Measurement):
    """Global seeds that are set at the time of the measurement.

    Whether the generators of Python and numpy were seeded cannot be read from their state.
    """

    key: ClassVar[str] = "seeds"
    position: ClassVar[int] = 18
    keras: bool
    """Whether ``keras.utils.set_random_seed`` was called."""
    tensorflow: bool
    """Whether ``tf.random.set_seed`` was called, directly or by ``keras.utils.set_random_seed``."""
    deterministic: bool
    """Whether ``tf.config.experimental.enable_op_determinism`` was called."""


@dataclass(frozen=True)
class ProgramPlaces(Measurement):
    """Lines where the user's program compiles and trains the model."""

    key: ClassVar[str] = "program"
    position: ClassVar[int] = 19
    compiled: Source | None = None
    """Line that calls ``compile``; None if there is none or it is unknown."""
    trained: Source | None = None
    """Line that calls ``fit`` or runs the training loop; None if unknown."""


During = Literal["program", "call", "training"]
"""What an error ended: the user's program, saldiag's call of the model, or its training."""


@dataclass(frozen=True)
class ProgramError(Measurement):
    """Error that ended the user's program, or that calling or training its model raised."""

    key: ClassVar[str] = "program_error"
    position: ClassVar[int] = 20
    error: str = ""
    """Class name of the exception; empty if the program ended without one."""
    message: str = ""
    """Its message in one line, without TensorFlow's stack traces; at most 4,000 characters."""
    source: Source | None = None
    """Innermost line of the user's own code in the traceback; None if there is none."""
    layers: dict[str, Source] = field(default_factory=dict)
    """Line that creates each layer named in the message, by layer name."""
    outdated: str = ""
    """Advice on the API of an older version that causes the error; empty if it is none."""
    bridged: bool = False
    """Whether ``saldiag run --compat`` emulates that API and was not given."""
    during: During = "program"
    """What the error ended."""


@dataclass(frozen=True)
class SourceFile:
    """One file of the user's program at the time of the run."""

    file: str
    """Path as in ``Source.file``."""
    sha256: str
    """SHA-256 of its bytes, as 64 hexadecimal digits."""
    size: int
    """Size in bytes."""
    text: str | None = None
    """Its text with the original line ends; None if it is no text, is longer than 256 KiB, or is a
    notebook, whose cells are listed as files (``train.ipynb[3]``)."""


@dataclass(frozen=True)
class SourceFiles(Measurement):
    """The user's own source files, without installed packages and saldiag's code."""

    key: ClassVar[str] = "sources"
    position: ClassVar[int] = 21
    files: tuple[SourceFile, ...]
    """The files, the program first; at most 200."""
    left_out: int = 0
    """Number of files beyond that limit."""
