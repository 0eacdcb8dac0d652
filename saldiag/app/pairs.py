"""Pairs of image and mask as a model of the user's takes them: any size, masks or class numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from saldiag.core.errors import DataError
from saldiag.quicksal.decode import THRESHOLD, mask_levels, opened
from saldiag.quicksal.msra10k import open_dataset
from saldiag.quicksal.storage import Item
from saldiag.subject.fits import Takes
from saldiag.subject.items import Batch, Items
from saldiag.subject.pictures import Frame

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def open_pairs(path: Path | None, frame: Frame, takes: Takes) -> Items:
    """The pairs at ``path``, read when they are wanted.

    A model with one number for each pixel gets masks of 0 and 1; one with more gets class numbers,
    which are the mask's grey levels or, in a PNG with a palette, its indices.

    Args:
        path: as ``open_dataset`` takes it; None is the built-in sample.
        frame: how the model takes pictures.
        takes: what else it takes.

    Raises:
        DataError: there are no pairs there.
    """
    pairs = _Pairs(open_dataset(path).items, frame, takes)
    binary = pairs.classes == 1
    return Items(
        len(pairs.items), pairs.read, lambda i: pairs.items[i].stem,
        pixels=frame.range if binary and frame.channels == 3 else None, notes=frame.notes,
    )  # fmt: skip


@dataclass(frozen=True)
class _Pairs:
    items: Sequence[Item]
    frame: Frame
    takes: Takes

    @property
    def classes(self) -> int:
        """Numbers for each pixel; one where the model does not tell."""
        output = self.takes.output
        return (output[-1] or 1) if output and len(output) == 4 else 1

    def read(self, numbers: Sequence[int]) -> Batch:
        chosen = [self.items[number] for number in numbers]
        images = np.stack([self._image(item) for item in chosen])
        masks = np.stack([self._levels(item) for item in chosen])
        return images, self._binary(masks) if self.classes == 1 else self._numbers(masks, chosen)

    def _image(self, item: Item) -> Any:
        height, width = self.frame.size
        with opened(item.image) as picture:
            upright = ImageOps.exif_transpose(picture).convert(_MODES[self.frame.channels])
            pixels = np.asarray(upright.resize((width, height), Image.Resampling.BILINEAR))
        return self.frame.scaled(pixels.reshape(height, width, self.frame.channels))

    def _levels(self, item: Item) -> Any:
        height, width = self.frame.mask_size
        with opened(item.mask) as picture:
            indexed = picture.mode == "P" and self.classes > 1
            levels = np.asarray(picture) if indexed else mask_levels(picture)
        resized = Image.fromarray(levels).resize((width, height), Image.Resampling.NEAREST)
        return np.asarray(resized)

    @staticmethod
    def _binary(levels: Any) -> Any:
        # Masks of 0 and 1 are as frequent as those of 0 and 255.
        threshold = 1 if levels.max() <= 1 else THRESHOLD
        return (levels >= threshold).astype(np.float32)[..., None]

    def _numbers(self, levels: Any, chosen: Sequence[Item]) -> Any:
        ignored = self.takes.ignored_class
        wrong = (levels >= self.classes) & (levels != (-1 if ignored is None else ignored))
        if wrong.any():
            index = int(wrong.any(axis=(1, 2)).argmax())
            level = int(levels[index][wrong[index]].max())
            raise DataError(
                f"{chosen[index].mask}: class {level} in it, and the model tells {self.classes}"
                f" classes, 0 to {self.classes - 1}: ignore_class={level} in the loss leaves it out"
            )
        if self.takes.one_hot:
            return np.eye(self.classes, dtype=np.float32)[levels]
        return levels.astype(np.int64)
