"""Images, masks and predictions as small PNGs inside the page."""

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
MAX_SIDE_PIXELS = 160
"""Longer side of an image in the page's source; shown at half that size, for sharp screens."""

MAX_SAMPLES = 12
"""Samples in a report."""
NONFINITE_COLOUR = (209, 54, 75)
"""Colour (R, G, B) of pixels whose prediction is not finite."""


@dataclass(frozen=True)
class SampleRow:
    """One sample: three images as ``data:`` URIs, and a summary."""

    name: str
    """Name of the sample."""
    image: str
    """The input."""
    target: str
    """The mask to predict."""
    prediction: str
    """The predicted mask."""
    summary: str
    """Range and error of the prediction, as text."""


def sample_rows(measured: Predictions) -> list[SampleRow]:
    """The first ``MAX_SAMPLES`` samples."""
    shown = range(min(len(measured.names), len(measured.images), MAX_SAMPLES))
    return [_sample_row(measured, index) for index in shown]


def _sample_row(measured: Predictions, index: int) -> SampleRow:
    prediction = np.asarray(measured.predictions[index], dtype=float)
    return SampleRow(
        measured.names[index],
        data_uri(to_pixels(measured.images[index])),
        data_uri(to_pixels(measured.targets[index])),
        data_uri(to_pixels(prediction)),
        _prediction_summary(prediction, np.asarray(measured.targets[index], dtype=float)),
    )


def _prediction_summary(prediction: Array, target: Array) -> str:
    finite = prediction[np.isfinite(prediction)]
    if finite.size == 0:
        return "has no finite value"
    low, high = float(finite.min()), float(finite.max())
    extent = (
        f"{grouped_number(low)} everywhere"
        if low == high
        else f"{grouped_number(low)} to {grouped_number(high)}"
    )
    if finite.size < prediction.size:
        return f"{extent}, {grouped_count(prediction.size - finite.size, 'value')} not finite"
    if prediction.shape != target.shape:
        return extent
    return f"{extent}, mean error {grouped_number(float(np.abs(prediction - target).mean()))}"


def to_pixels(values: Array) -> Array:
    """Convert values in [0, 1], shape (H, W), (H, W, 1) or (H, W, 3), to uint8, shape (H, W, 3).

    Values outside [0, 1] are clipped. With another number of channels, only the first is used.
    """
    values = np.asarray(values, dtype=float)
    if values.ndim == 2:
        values = values[..., None]
    if values.shape[-1] != 3:
        values = values[..., :1]
    nonfinite = ~np.isfinite(values).all(axis=-1)
    clean = np.where(nonfinite[..., None], 0, values)
    shades = np.round(np.clip(clean, 0, 1) * 255).astype(np.uint8)
    coloured = np.repeat(shades, 3, axis=-1) if shades.shape[-1] == 1 else shades.copy()
    coloured[nonfinite] = NONFINITE_COLOUR
    return coloured


def encode_png(image: Array, longest: int = MAX_SIDE_PIXELS) -> bytes:
    """A uint8 image (H, W, 3) as PNG; shrunk to sides of at most ``longest`` pixels."""
    picture = Image.fromarray(image)
    picture.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def png_size(encoded: bytes) -> tuple[int, int]:
    """Width and height of a PNG in pixels."""
    with Image.open(io.BytesIO(encoded)) as picture:
        return picture.size


def data_uri(image: Array) -> str:
    """A uint8 image (H, W, 3) as a ``data:`` URI with a PNG."""
    return "data:image/png;base64," + base64.b64encode(encode_png(image)).decode("ascii")
