"""One fact in all runs: a row of a comparison table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from saldiag.core.files.jsonio import jsonable

Part = Literal["outcome", "options", "versions", "training", "data", "network"]
LAYER = "layer"
PARTS: tuple[Part, ...] = get_args(Part)


@dataclass(frozen=True)
class Row:
    """A fact with its value in each run."""

    part: Part
    """Table that the row belongs to."""
    name: str
    """Name of the fact; ``LAYER`` for a layer that some runs do not have."""
    values: tuple[Any, ...]
    """Value in each run; None if a run has none."""
    at: str = ""
    """Layer call that a fact of the network is about, by its path in the first run that has it;
    empty in other tables."""

    @property
    def differs(self) -> bool:
        """Whether a value differs from the first run's; NaN equals NaN."""
        first, *others = (jsonable(value) for value in self.values)
        return any(value != first for value in others)


def rows_of(part: Part, facts: Sequence[Mapping[str, Any]], at: str = "") -> list[Row]:
    """A row for each name that any run has, in the order of the first one that has it."""
    names = dict.fromkeys(name for each in facts for name in each)
    return [Row(part, name, tuple(each.get(name) for each in facts), at) for name in names]


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Pairs of name and value; what is inside another one is called ``outer.inner``."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
