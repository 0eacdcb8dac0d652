"""How rules format text: compact numbers, safe names, source positions."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import PurePath

from saldiag.core.measurement import Source

LONGEST_NAME = 80
MODEL = "the model"


def number(value: float) -> str:
    """A number with three significant digits; whole numbers below a million are shown in full."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("inf" if value > 0 else "-inf")
    if value == round(value) and abs(value) < 1e6:
        return f"{value:.0f}" if value else "0"
    return f"{value:.3g}"


def percent(share: float) -> str:
    """A share in [0, 1] as a percentage."""
    return f"{100 * share:.3g} %"


def label(path: str) -> str:
    """A layer's path in at most 80 printable characters: names come from the user's program."""
    if not path:
        return MODEL
    clean = "".join(char if char.isprintable() else "?" for char in path)
    return clean if len(clean) <= LONGEST_NAME else f"…{clean[1 - LONGEST_NAME :]}"


def listed(paths: Iterable[str], most: int = 3) -> str:
    """The first names, and how many more there are."""
    names = [label(path) for path in paths]
    shown = names[:most]
    if len(names) > most:
        return f"{', '.join(shown)} and {len(names) - most} more"
    return " and ".join(filter(None, (", ".join(shown[:-1]), *shown[-1:])))


def counted(count: int, noun: str) -> str:
    """``1 layer``, ``2 layers``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def place(source: Source | None) -> str:
    """``folder/file.py:line``; empty if the source is unknown."""
    if source is None or not source.file:
        return ""
    return f"{label('/'.join(PurePath(source.file).parts[-2:]))}:{source.line}"


def at(source: Source | None) -> str:
    """``: folder/file.py:line`` for the end of a sentence; empty if the source is unknown."""
    return f": {place(source)}" if place(source) else ""
