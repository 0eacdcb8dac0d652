"""How a model takes pictures: size, channels, and the range of their numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from saldiag.core.errors import DataError
from saldiag.subject.models.input_spec import InputSpec

RANGES: dict[str, tuple[float, float]] = {
    "bytes": (0.0, 255.0),
    "unit": (0.0, 1.0),
    "signed": (-1.0, 1.0),
}


@dataclass(frozen=True)
class Frame:
    """Height and width in pixels, channels, the name of the range, and a line on why that one."""

    size: tuple[int, int]
    channels: int
    pixels: str
    mask_size: tuple[int, int]
    notes: tuple[str, ...] = ()

    @property
    def range(self) -> tuple[float, float]:
        """Least and largest number of a picture."""
        return RANGES[self.pixels]

    def scaled(self, picture: Any) -> Any:
        """A picture of 0…255 in the model's range, as float32."""
        low, high = self.range
        return np.asarray(picture, np.float32) / 255.0 * (high - low) + low


def frame_for(takes: InputSpec, size: int | None, default: int, pixels: str) -> Frame:
    """How a model takes pictures.

    Args:
        takes: what it takes.
        size: the side that the user asks for.
        default: the side where neither model nor user says one.
        pixels: the range that the user asks for; ``auto`` is 0…255 where the model has a layer
            that scales its input (Rescaling, Normalization), and 0…1 where not.

    Raises:
        DataError: it takes no pictures, or not of that size.
    """
    shape = takes.shape or (None, None, None, 3)
    if len(takes.inputs) > 1 or len(shape) != 4 or shape[-1] not in (1, 3, 4, None):
        wanted = ", ".join(str(shape) for _, shape in takes.inputs)
        raise DataError(
            f"the data is pictures (None, height, width, 1, 3 or 4), the model takes {wanted}"
        )
    asked = size or default
    sides = (shape[1] or asked, shape[2] or asked)
    if size is not None and sides != (size, size):
        raise DataError(f"--image-size {size}: the model takes {sides[0]}x{sides[1]} pixels")
    chosen = ("bytes" if takes.scales else "unit") if pixels == "auto" else pixels
    return Frame(sides, shape[-1] or 3, chosen, _mask_size(takes, sides), _told(pixels, chosen))


def _mask_size(takes: InputSpec, sides: tuple[int, int]) -> tuple[int, int]:
    output = takes.output
    if output is None or len(output) != 4:
        return sides
    return output[1] or sides[0], output[2] or sides[1]


def _told(asked: str, chosen: str) -> tuple[str, ...]:
    if asked != "auto":
        return ()
    low, high = RANGES[chosen]
    why = "the model scales them itself" if chosen == "bytes" else "the model scales nothing"
    return (f"pixels from {low:g} to {high:g}, for {why}; --pixels says otherwise",)
