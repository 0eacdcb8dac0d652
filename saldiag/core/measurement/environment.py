"""Of the environment: the warnings of the frameworks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

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
    """What Keras and TensorFlow said, whatever the program's warning filters were."""

    key: ClassVar[str] = "warnings"
    warnings: tuple[RecordedWarning, ...]
