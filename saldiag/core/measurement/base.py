"""What all measurements share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Measurement:
    """Base of all measurements; ``key`` names it in files and in a rule's ``requires``."""

    key: ClassVar[str]


@dataclass(frozen=True)
class Source:
    """A place in the user's code; ``text`` is what stands there, as far as it is known."""

    file: str
    line: int
    text: str = field(default="", compare=False)
