"""Size, channels and pixel range of the images that a model expects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from saldiag.core.errors import DataError
from saldiag.subject.models.input_spec import InputSpec

PIXEL_RANGES: dict[str, tuple[float, float]] = {
    "bytes": (0.0, 255.0),
    "unit": (0.0, 1.0),
    "signed": (-1.0, 1.0),
}
"""Smallest and largest pixel value by the name that ``--pixels`` takes."""


@dataclass(frozen=True)
class ImageFormat:
    """How images and masks are resized and scaled for a model."""

    size: tuple[int, int]
    """Height and width of the input images, in pixels."""
    channels: int
    """1 (grey), 3 (RGB) or 4 (RGBA)."""
    range_name: str
    """Key of ``PIXEL_RANGES``."""
    mask_size: tuple[int, int]
    """Height and width of the masks, in pixels: the size of the model's output."""
    notes: tuple[str, ...] = ()
    """Lines for the user that say why this range was chosen; empty if the user chose it."""

    @property
    def pixel_range(self) -> tuple[float, float]:
        """Smallest and largest pixel value."""
        return PIXEL_RANGES[self.range_name]

    def scale_pixels(self, image: Any) -> Any:
        """Scale an image of 0…255 to the model's range; float32 of the same shape."""
        low, high = self.pixel_range
        return np.asarray(image, np.float32) / 255.0 * (high - low) + low


def image_format_for(
    spec: InputSpec, size: int | None, default_size: int, pixels: str
) -> ImageFormat:
    """The image format that a model expects.

    Args:
        spec: the model's input and output.
        size: side in pixels that the user chose; None if none.
        default_size: side in pixels if neither the model nor the user fixes one.
        pixels: the range that the user chose; ``auto`` is 0…255 if the model has a layer that
            rescales its input (Rescaling, Normalization), else 0…1.

    Raises:
        DataError: the model does not take images, or not of that size.
    """
    shape = spec.input_shape or (None, None, None, 3)
    if len(spec.inputs) > 1 or len(shape) != 4 or shape[-1] not in (1, 3, 4, None):
        expected = ", ".join(str(shape) for _, shape in spec.inputs)
        raise DataError(
            f"the data are images (None, height, width, 1, 3 or 4), the model expects {expected}"
        )
    side = size or default_size
    sides = (shape[1] or side, shape[2] or side)
    if size is not None and sides != (size, size):
        raise DataError(f"--image-size {size}: the model expects {sides[0]}x{sides[1]} pixels")
    chosen = ("bytes" if spec.rescales_inputs else "unit") if pixels == "auto" else pixels
    notes = _range_notes(chosen) if pixels == "auto" else ()
    return ImageFormat(sides, shape[-1] or 3, chosen, _mask_size(spec, sides), notes)


def _mask_size(spec: InputSpec, sides: tuple[int, int]) -> tuple[int, int]:
    output = spec.output_shape
    if output is None or len(output) != 4:
        return sides
    return output[1] or sides[0], output[2] or sides[1]


def _range_notes(chosen: str) -> tuple[str, ...]:
    low, high = PIXEL_RANGES[chosen]
    why = "rescales its inputs" if chosen == "bytes" else "doesn't rescale its inputs"
    return (f"pixel range {low:g} to {high:g}, because the model {why}; --pixels changes it",)
