"""The subject of an examination: a compiled model, and the batches to examine it on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from saldiag.core.measurement import Origin, Source

MAX_SHOWN_IMAGES = 4
"""Largest number of images in the report, with their predictions."""


@dataclass(frozen=True)
class Batches:
    """Batches to examine a model on."""

    batches: tuple[tuple[Any, ...], ...]
    """Each (x, y) or (x, y, sample_weight)."""
    names: tuple[str, ...] = ()
    """Names of the items, in order; empty if they have none."""
    pixel_range: tuple[float, float] | None = None
    """Range of the inputs if they are RGB images with mask targets, which a report can show."""


@dataclass(frozen=True)
class OverfitData(Batches):
    """The items that the overfit test memorises, and the data that they were taken from."""

    validation: tuple[tuple[Any, ...], ...] = ()
    """A batch of items that are not memorised; empty if none are left."""
    subset_items: int = 0
    """Number of items that the memorised ones were chosen from."""
    image_size: int | None = None
    """Side of the square images in pixels; None if that is not known."""
    fit_data: Any = None
    """The user's data as ``fit`` would get them; None if unknown or readable only once."""


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
    """Smallest and largest input value that a pretrained encoder expects; None if unknown."""
    name: str | None = None
    """What the user calls it; None for the model's own name."""
    is_user_model: bool = True
    """Whether its code is the user's, so that its errors are explained and not reported as bugs."""
