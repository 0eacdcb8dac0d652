"""What is examined: a compiled model, and batches to look at."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from saldiag.core.measurement import Origin, Source

MAX_PICTURES = 4
"""Predictions shown in the report."""


@dataclass(frozen=True)
class Batches:
    """Batches to look at."""

    batches: tuple[tuple[Any, ...], ...]
    """Each (x, y) or (x, y, sample_weight)."""
    names: tuple[str, ...] = ()
    """Names of the items, in order; empty if they have none."""
    pixels: tuple[float, float] | None = None
    """Range of the inputs if they are RGB images with mask targets, which a report can show."""


@dataclass(frozen=True)
class Data(Batches):
    """The items to memorise, and what they were taken from."""

    validation: tuple[tuple[Any, ...], ...] = ()
    """A batch of items that are not memorised; empty if there are none left."""
    subset_items: int = 0
    """Number of items that the memorised ones were chosen from."""
    image_size: int | None = None
    """Side of the square images in pixels; None if that is not known."""
    fed: Any = None
    """What the user's program passes to ``fit``, if it is known and can be read again."""


@dataclass(frozen=True)
class Subject:
    """A compiled model and what is known about it."""

    model: Any
    """The compiled Keras model."""
    sources: dict[int, Source] = field(default_factory=dict)
    """The line that made each layer, by ``id(layer)``."""
    origins: tuple[Origin, ...] = ()
    """Where pretrained weights come from."""
    notes: tuple[str, ...] = ()
    """Lines to print for the user."""
    expected_range: tuple[float, float] | None = None
    """Values that a pretrained encoder expects of its inputs."""
    name: str | None = None
    """What the user calls it; None for the model's own name."""
    is_users: bool = True
    """Whether its code is the user's, so that its errors are explained and not reported as bugs."""
