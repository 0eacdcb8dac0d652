"""One fact in all runs: the row that every table of a comparison is made of."""

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
    """A fact by its name, with its value in each run; None where a run has none.

    ``at`` is the layer call that a fact of the network is about, as the first run that has it
    calls it; ``name`` is ``LAYER`` where some runs have no such layer.
    """

    part: Part
    name: str
    values: tuple[Any, ...]
    at: str = ""

    @property
    def differs(self) -> bool:
        """Whether a run has another value than the first; NaN is the same as NaN."""
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
