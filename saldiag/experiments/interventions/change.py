"""Changes to a model that are undone afterwards: nothing is copied, so any model will do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from saldiag.core.patching import Patch, assign

Batch = tuple[Any, ...]
"""``(x,)``, ``(x, y)`` or ``(x, y, sample_weight)``: numpy arrays (items, …) or nests of them."""
Batches = tuple[Batch, ...]


@dataclass(frozen=True)
class Swap:
    """One attribute that holds another value while a change is in effect."""

    owner: Any
    """The object whose attribute is replaced: model, layer, variable or tensor."""
    name: str
    """Name of the attribute."""
    new: Any
    """The value while the change is in effect."""
    tracked: bool = True
    """Use the owner's ``__setattr__`` (needed for Keras' flags). False bypasses Keras' attribute
    tracking, which would make the value a part of the model."""

    def swap_in(self) -> Callable[[], None]:
        """Set the attribute; returns a function that restores it."""
        if self.tracked:
            return assign(self.owner, self.name, self.new)
        return Patch(self.owner, self.name, self.new, untracked=True).restore


@dataclass(frozen=True)
class Change:
    """What an intervention changes in one model."""

    description: str
    """What is changed, as the subject of "… restores learning": a gerund or noun phrase."""
    layers: tuple[str, ...] = ()
    """Paths of the layers that are changed."""
    swaps: tuple[Swap, ...] = ()
    """Replaced attributes, in effect from before the first step is traced."""
    set_initial_state: Callable[[int], None] | None = None
    """Called with the seed once all variables hold their initial values; may assign others."""
    transform_batches: Callable[[Batches, int], Batches] | None = None
    """From the batches and the seed to the batches that are trained on; None leaves them."""
    optimizer: Any = None
    """Optimizer that replaces the model's; None leaves it."""
    needs_retracing: bool = True
    """Whether the training step has to be traced again; False reuses the control's trace."""

    @contextmanager
    def in_effect(self) -> Iterator[None]:
        """Apply the swaps inside the block."""
        undo: list[Callable[[], None]] = []
        try:
            undo.extend(swap.swap_in() for swap in self.swaps)
            yield
        finally:
            for swap_back in reversed(undo):
                swap_back()


def combine_changes(changes: Sequence[Change]) -> Change:
    """Several changes as one, each applied on top of those before it; none changes nothing.

    Optimizers have to be among the swaps already: ``optimizer`` is not carried over.
    """
    setters = [change.set_initial_state for change in changes if change.set_initial_state]
    transforms = [change.transform_batches for change in changes if change.transform_batches]

    def set_initial_state(seed: int) -> None:
        for setter in setters:
            setter(seed)

    def transform_batches(batches: Batches, seed: int) -> Batches:
        for transform in transforms:
            batches = transform(batches, seed)
        return batches

    return Change(
        description="; ".join(change.description for change in changes),
        layers=tuple(dict.fromkeys(path for change in changes for path in change.layers)),
        swaps=tuple(swap for change in changes for swap in change.swaps),
        set_initial_state=set_initial_state if setters else None,
        transform_batches=transform_batches if transforms else None,
        needs_retracing=any(change.needs_retracing for change in changes),
    )
