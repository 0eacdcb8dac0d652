"""One thing changed in a model, and put back: nothing is copied, so any model will do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

Batches = tuple[tuple[Any, ...], ...]
MISSING = object()


@dataclass(frozen=True)
class Swap:
    """An attribute that holds ``new`` while the change is made.

    ``tracked``: through the owner's own ``__setattr__``, which Keras' flags need; not for what it
    would track as a part of the model.
    """

    owner: Any
    name: str
    new: Any
    tracked: bool = True

    def make(self) -> Callable[[], None]:
        """Set it; returns what puts it back."""
        inside = vars(self.owner).get(self.name, MISSING)
        before = getattr(self.owner, self.name, MISSING) if self.tracked else inside
        write = setattr if self.tracked else object.__setattr__
        write(self.owner, self.name, self.new)

        def back() -> None:
            if before is MISSING:
                object.__delattr__(self.owner, self.name)
            else:
                write(self.owner, self.name, before)

        return back


@dataclass(frozen=True)
class Change:
    """What an intervention does to one model.

    ``told`` is what was changed, as the subject of a sentence; ``layers`` are the paths of where.
    ``swaps`` are in effect from before the first step is traced. ``start(seed)`` runs when all
    variables are at their start, and may set them. ``feed(batches, seed)`` makes other batches.
    ``optimizer`` is one that takes the place of the model's. ``traced`` says whether the training
    step has to be traced anew.
    """

    told: str
    layers: tuple[str, ...] = ()
    swaps: tuple[Swap, ...] = ()
    start: Callable[[int], None] | None = None
    feed: Callable[[Batches, int], Batches] | None = None
    optimizer: Any = None
    traced: bool = True

    @contextmanager
    def made(self) -> Iterator[None]:
        """Have the swaps in effect."""
        undo: list[Callable[[], None]] = []
        try:
            undo.extend(swap.make() for swap in self.swaps)
            yield
        finally:
            for back in reversed(undo):
                back()


def together(parts: Sequence[Change]) -> Change:
    """Several changes as one, each made on top of those before it; of none, nothing is changed.

    Their optimizers have to be among their swaps already.
    """
    starts = [part.start for part in parts if part.start]
    feeds = [part.feed for part in parts if part.feed]

    def start(seed: int) -> None:
        for each in starts:
            each(seed)

    def feed(batches: Batches, seed: int) -> Batches:
        for each in feeds:
            batches = each(batches, seed)
        return batches

    return Change(
        told="; ".join(part.told for part in parts),
        layers=tuple(dict.fromkeys(path for part in parts for path in part.layers)),
        swaps=tuple(swap for part in parts for swap in part.swaps),
        start=start if starts else None,
        feed=feed if feeds else None,
        traced=any(part.traced for part in parts),
    )
