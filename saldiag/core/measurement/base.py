"""What all measurements share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from saldiag.core.field_types import MAY_BE_ABSENT, Count

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Measurement:
    """Base of all measurements. Each subclass with a ``key`` is one of ``TYPES``."""

    key: ClassVar[str]
    """Name of the measurement in files (``KEY.json``, ``KEY.npz``) and in messages."""
    position: ClassVar[int] = 1000
    """Place in the order of ``TYPES``. A new measurement leaves it out and comes last."""


@dataclass(frozen=True)
class Source:
    """A line of the user's code."""

    file: str
    """Path of the file, relative to the working directory if it is inside; of a notebook the path
    and the cell (``train.ipynb[3]``). Empty if unknown."""
    line: Count
    """Line number, from 1; 0 if unknown."""
    text: str = field(default="", compare=False, metadata=MAY_BE_ABSENT)
    """Text of the line without indentation; empty if unknown."""
