"""Types of fields that say more than Python's: what JSON Schema requires of their values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any

MAY_BE_ABSENT: Mapping[str, bool] = MappingProxyType({"may_be_absent": True})
"""Metadata of a field that documents may lack: it was added after their first version."""


@dataclass(frozen=True)
class Constraint:
    """What JSON Schema requires of a value beyond its Python type; None for no requirement."""

    pattern: str | None = None
    """Regular expression that a text must match."""
    min_length: int | None = None
    """Smallest number of characters of a text."""
    minimum: float | None = None
    """Smallest number allowed; the number must then be finite."""
    maximum: float | None = None
    """Largest number allowed; the number must then be finite."""
    min_items: int | None = None
    """Smallest number of elements of a tuple."""
    constant: Any = None
    """The only value allowed."""


RuleCode = Annotated[str, Constraint(pattern="^SD[0-9]{3}$")]
RuleName = Annotated[str, Constraint(pattern="^[a-z0-9]+(-[a-z0-9]+)*$")]
NonEmpty = Annotated[str, Constraint(min_length=1)]
Sha256 = Annotated[str, Constraint(pattern="^[0-9a-f]{64}$")]
UtcTime = Annotated[str, Constraint(pattern="^([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z)?$")]
Count = Annotated[int, Constraint(minimum=0)]
Probability = Annotated[float, Constraint(minimum=0, maximum=1)]
