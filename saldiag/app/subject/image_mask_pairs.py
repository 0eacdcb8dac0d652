"""Image-and-mask pairs as the user's model takes them: any size, masks or class numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from saldiag.image_masks.decode import mask_levels, open_picture
from saldiag.image_masks.storage import Item
from saldiag.subject.data.image_format import ImageFormat
from saldiag.subject.data.items import Batch, Items
from saldiag.subject.data.mask_targets import classes_per_pixel, masks_as_targets
from saldiag.subject.models.input_spec import InputSpec

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def pairs_as_items(pairs: Sequence[Item], frame: ImageFormat, spec: InputSpec) -> Items:
    """The pairs as items of any model, read when they are needed.

    A model with one number for each pixel gets masks of 0 and 1; one with more gets class numbers,
    which are the mask's grey levels or, in a PNG with a palette, its indices.

    Args:
        pairs: the pairs.
        frame: how the model takes images.
        spec: what the model takes.
    """
    reader = _Pairs(pairs, frame, spec)
    binary = classes_per_pixel(spec) == 1
    return Items(
        len(pairs), reader.read, lambda i: pairs[i].stem,
        pixel_range=frame.pixel_range if binary and frame.channels == 3 else None,
        notes=frame.notes,
    )  # fmt: skip


@dataclass(frozen=True)
class _Pairs:
    items: Sequence[Item]
    frame: ImageFormat
    spec: InputSpec

    def read(self, numbers: Sequence[int]) -> Batch:
        chosen = [self.items[number] for number in numbers]
        images = np.stack([self._image(item) for item in chosen])
        masks = np.stack([self._levels(item) for item in chosen])
        return images, masks_as_targets(masks, self.spec, lambda index: str(chosen[index].mask))

    def _image(self, item: Item) -> Any:
        height, width = self.frame.size
        with open_picture(item.image) as picture:
            upright = ImageOps.exif_transpose(picture).convert(_MODES[self.frame.channels])
            pixels = np.asarray(upright.resize((width, height), Image.Resampling.BILINEAR))
        return self.frame.scale_pixels(pixels.reshape(height, width, self.frame.channels))

    def _levels(self, item: Item) -> Any:
        height, width = self.frame.mask_size
        with open_picture(item.mask) as picture:
            indexed = picture.mode == "P" and classes_per_pixel(self.spec) > 1
            levels = np.asarray(picture) if indexed else mask_levels(picture)
        resized = Image.fromarray(levels).resize((width, height), Image.Resampling.NEAREST)
        return np.asarray(resized)
