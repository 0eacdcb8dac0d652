"""Command-line flags as metadata of dataclass fields.

A field of an options class declares its flag, its default and its help once. The click options are
made from it by ``saldiag.cli.options``; nothing here imports click.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any


@dataclass(frozen=True)
class Flag:
    """A command-line flag; its name is the field's, ``learning_rate`` is ``--learning-rate``."""

    help: str
    """One or two sentences on what it does."""
    name: str | None = None
    """The flag, with dashes; None for the field's name."""
    metavar: str | None = None
    """Placeholder of the value in the help; None for the type's name."""
    choices: tuple[str, ...] = ()
    """Accepted values; empty if the type decides."""
    minimum: float | None = None
    """Smallest accepted number."""
    above: float | None = None
    """Number that the value must exceed."""
    maximum: float | None = None
    """Largest accepted number."""
    shown_default: str | None = None
    """Default in the help if the field's own does not say it."""
    duration: bool = False
    """Whether the value may have a unit: 90s, 2m, 1h."""
    separated: bool = False
    """Whether the values are one text, separated by commas."""


def flag(
    help: str,  # noqa: A002 - what click calls it
    *,
    default: Any = MISSING,
    default_factory: Callable[[], Any] | Any = MISSING,
    **details: Any,
) -> Any:
    """A dataclass field with a flag; ``details`` are fields of ``Flag``."""
    metadata = {"flag": Flag(help, **details)}
    if default_factory is not MISSING:
        return field(default_factory=default_factory, metadata=metadata)
    return field(default=default, metadata=metadata)


def flag_of(owner: type, name: str) -> tuple[Field[Any], Flag]:
    """The field called ``name`` of an options class, and its flag.

    Raises:
        LookupError: there is no such field, or it has no flag.
    """
    found = next((f for f in fields(owner) if f.name == name), None)
    if found is None or "flag" not in found.metadata:
        raise LookupError(f"{owner.__name__}.{name} declares no flag")
    return found, found.metadata["flag"]
