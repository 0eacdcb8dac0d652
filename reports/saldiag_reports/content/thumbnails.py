"""Predictions beside images and masks, as small PNG pictures inside the page."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from saldiag.core.measurement import Predictions
from saldiag.core.wording import grouped_count, grouped_number

Array = np.ndarray[Any, Any]
MAX_SIDE = 160
"""Pixels of a picture's longer side: two for each that a page shows, and a few KiB."""

MAX_SAMPLES = 12
BROKEN = (209, 54, 75)
"""Where a prediction is not finite."""


@dataclass(frozen=True)
class Sample:
    """One row of pictures, each a ``data:`` URI, with its numbers in words."""

    name: str
    image: str
    target: str
    prediction: str
    told: str


def samples(measured: Predictions) -> list[Sample]:
    """The first few samples as pictures."""
    shown = range(min(len(measured.names), len(measured.images), MAX_SAMPLES))
    return [_sample(measured, index) for index in shown]


def _sample(measured: Predictions, index: int) -> Sample:
    prediction = np.asarray(measured.predictions[index], dtype=float)
    return Sample(
        measured.names[index],
        data_uri(pixels(measured.images[index])),
        data_uri(pixels(measured.targets[index])),
        data_uri(pixels(prediction)),
        _told(prediction, np.asarray(measured.targets[index], dtype=float)),
    )


def _told(prediction: Array, target: Array) -> str:
    held = prediction[np.isfinite(prediction)]
    if held.size == 0:
        return "no finite value"
    low, high = float(held.min()), float(held.max())
    extent = (
        f"{grouped_number(low)} everywhere"
        if low == high
        else f"{grouped_number(low)} to {grouped_number(high)}"
    )
    if held.size < prediction.size:
        return f"{extent}, {grouped_count(prediction.size - held.size, 'value')} not finite"
    if prediction.shape != target.shape:
        return extent
    return f"{extent}, mean error {grouped_number(float(np.abs(prediction - target).mean()))}"


def pixels(values: Array) -> Array:
    """Values in [0, 1] of shape (H, W), (H, W, 1) or (H, W, 3) to bytes (H, W, 3).

    What lies outside is clipped; of any other number of channels the first is shown.
    """
    values = np.asarray(values, dtype=float)
    if values.ndim == 2:
        values = values[..., None]
    if values.shape[-1] != 3:
        values = values[..., :1]
    broken = ~np.isfinite(values).all(axis=-1)
    clean = np.where(broken[..., None], 0, values)
    shades = np.round(np.clip(clean, 0, 1) * 255).astype(np.uint8)
    coloured = np.repeat(shades, 3, axis=-1) if shades.shape[-1] == 1 else shades.copy()
    coloured[broken] = BROKEN
    return coloured


def png(image: Array, longest: int = MAX_SIDE) -> bytes:
    """Bytes (H, W, 3) as PNG with sides of at most ``longest``; never enlarged."""
    picture = Image.fromarray(image)
    picture.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def size_of(encoded: bytes) -> tuple[int, int]:
    """Width and height of a PNG."""
    with Image.open(io.BytesIO(encoded)) as picture:
        return picture.size


def data_uri(image: Array) -> str:
    """Bytes (H, W, 3) as a ``data:`` URI."""
    return "data:image/png;base64," + base64.b64encode(png(image)).decode("ascii")
