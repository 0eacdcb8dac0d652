"""Of the environment: warnings of the frameworks, other packages' objects, seeds, source files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from saldiag.core.measurement.base import Measurement, Source


@dataclass(frozen=True)
class RecordedWarning:
    """A warning of the framework; ``silenced``: the program's filters would have hidden it."""

    category: str
    message: str
    file: str
    line: int
    silenced: bool
    count: int = 1
    silenced_by: Source | None = None
    """Where the program installed the filter that hides it, where that is known."""


@dataclass(frozen=True)
class WarningLog(Measurement):
    """What Keras and TensorFlow said, whatever the program's warning filters were.

    ``filters`` are the places where the program silenced all UserWarnings of the framework, which
    is the kind that Keras' advice is.
    """

    key: ClassVar[str] = "warnings"
    warnings: tuple[RecordedWarning, ...]
    filters: tuple[Source, ...] = ()


@dataclass(frozen=True)
class ForeignObject:
    """An object of another Keras than the model's; ``place`` is where the model holds it.

    ``package`` is the one that its class comes from, ``parameters`` the numbers that it holds,
    ``layer`` the path of the Keras 3 layer that it stands in, and None where it stands in none.
    """

    place: str
    kind: str
    package: str
    parameters: int
    layer: str | None = None


@dataclass(frozen=True)
class ForeignObjects(Measurement):
    """Objects of the Keras before Keras 3 in a model of Keras 3."""

    key: ClassVar[str] = "foreign"
    objects: tuple[ForeignObject, ...]


@dataclass(frozen=True)
class Seeds(Measurement):
    """Which global seeds are set where the program is examined.

    ``keras`` tells of ``keras.utils.set_random_seed``, ``tensorflow`` of ``tf.random.set_seed``,
    which the first one calls as well; ``deterministic`` of ``enable_op_determinism``. Whether the
    generators of Python and numpy were seeded by hand cannot be seen from their state.
    """

    key: ClassVar[str] = "seeds"
    keras: bool
    tensorflow: bool
    deterministic: bool


@dataclass(frozen=True)
class ProgramPlaces(Measurement):
    """Where the user's program compiles the model, and where it trains it, as far as known."""

    key: ClassVar[str] = "program"
    compiled: Source | None = None
    trained: Source | None = None


During = Literal["program", "call", "training"]
"""Of an error: the user's own program ended with it, or saldiag's call or training of the model."""


@dataclass(frozen=True)
class ProgramError(Measurement):
    """The error that ended the user's program; ``error``, its type, is empty where none did.

    Of a model without a program it is what calling or training it raises: ``during`` says which.
    ``message`` is one line, ``source`` the innermost line of the user's own code, and ``layers``
    tells where the layers were made that the message names. ``outdated`` says what of an older
    version the error comes from, and ``bridged`` that ``saldiag run --compat`` would have bridged
    it.
    """

    key: ClassVar[str] = "program_error"
    error: str = ""
    message: str = ""
    source: Source | None = None
    layers: dict[str, Source] = field(default_factory=dict)
    outdated: str = ""
    bridged: bool = False
    during: During = "program"


@dataclass(frozen=True)
class SourceFile:
    """A file of the user's program as it was at the time of the run.

    ``file`` is its path as ``Source.file`` has it, ``sha256`` that of its ``size`` bytes. ``text``
    keeps the line ends; None where it is no text, too long, or a notebook, whose cells are files
    of their own (``FILE[3]``).
    """

    file: str
    sha256: str
    size: int
    text: str | None = None


@dataclass(frozen=True)
class SourceFiles(Measurement):
    """The user's own source files, the program first; ``left_out`` counts those beyond the limit.

    Installed packages and saldiag's own code are not among them.
    """

    key: ClassVar[str] = "sources"
    files: tuple[SourceFile, ...]
    left_out: int = 0
