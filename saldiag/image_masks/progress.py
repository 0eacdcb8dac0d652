"""How long work tells how far it is: it calls ``advance(done, total)``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Advance: TypeAlias = Callable[[int, int | None], None]
"""``advance(done, total)``; ``total`` is None where it is not known."""


def silent(done: int, total: int | None) -> None:
    """Show nothing."""
