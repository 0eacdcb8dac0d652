"""Image-and-mask pairs for the user's model: at its input size, as masks or as class labels."""

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
    """The pairs as items, read on demand.

    A model with one output channel gets masks of 0 and 1. A model with more gets class labels: the
    grey levels of the mask or, in a PNG with a palette, its palette indexes.

    Args:
        pairs: the pairs.
        frame: how the model takes images.
        spec: what the model takes.
    """
    reader = _PairReader(pairs, frame, spec)
    binary = classes_per_pixel(spec) == 1
    return Items(
        len(pairs), reader.read_pairs, lambda i: pairs[i].stem,
        pixel_range=frame.pixel_range if binary and frame.channels == 3 else None,
        notes=frame.notes,
    )  # fmt: skip


@dataclass(frozen=True)
class _PairReader:
    """Reads batches of pairs from their files."""

    items: Sequence[Item]
    frame: ImageFormat
    spec: InputSpec

    def read_pairs(self, numbers: Sequence[int]) -> Batch:
        """Images float32 (N, H, W, C), and masks in the shape of the model's output.

        Raises:
            DataError: a file is missing or damaged, or a mask has a class that the model lacks.
        """
        chosen = [self.items[number] for number in numbers]
        images = np.stack([self._read_image(item) for item in chosen])
        masks = np.stack([self._read_mask_levels(item) for item in chosen])
        return images, masks_as_targets(masks, self.spec, lambda index: str(chosen[index].mask))

    def _read_image(self, item: Item) -> Any:
        height, width = self.frame.size
        with open_picture(item.image) as picture:
            upright = ImageOps.exif_transpose(picture).convert(_MODES[self.frame.channels])
            pixels = np.asarray(upright.resize((width, height), Image.Resampling.BILINEAR))
        return self.frame.scale_pixels(pixels.reshape(height, width, self.frame.channels))

    def _read_mask_levels(self, item: Item) -> Any:
        height, width = self.frame.mask_size
        with open_picture(item.mask) as picture:
            indexed = picture.mode == "P" and classes_per_pixel(self.spec) > 1
            levels = np.asarray(picture) if indexed else mask_levels(picture)
        resized = Image.fromarray(levels).resize((width, height), Image.Resampling.NEAREST)
        return np.asarray(resized)
