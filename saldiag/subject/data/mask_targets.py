"""Segmentation masks as the targets that the model's loss expects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from saldiag.core.errors import DataError
from saldiag.subject.models.input_spec import InputSpec

FOREGROUND_LEVEL = 128
"""Smallest grey level of the foreground, in masks of 0 and 255."""


def classes_per_pixel(spec: InputSpec) -> int:
    """How many values the model predicts per pixel; 1 if its output shape is not known."""
    output = spec.output_shape
    return (output[-1] or 1) if output and len(output) == 4 else 1


def masks_as_targets(levels: Any, spec: InputSpec, mask_name: Callable[[int], str]) -> Any:
    """Targets for masks of grey levels.

    Args:
        levels: uint8, shape (N, H, W): grey levels, or class numbers if the model predicts
            several values per pixel.
        spec: the model's output and loss.
        mask_name: name of the mask with that index, for messages.

    Returns:
        float32 (N, H, W, 1) in {0, 1} for one value per pixel; otherwise class numbers, int64
        (N, H, W), or one-hot float32 (N, H, W, classes) if the loss expects it.

    Raises:
        DataError: a mask contains a class that the model does not predict.
    """
    classes = classes_per_pixel(spec)
    if classes == 1:
        # Masks of 0 and 1 are as common as masks of 0 and 255.
        threshold = 1 if levels.max() <= 1 else FOREGROUND_LEVEL
        return (levels >= threshold).astype(np.float32)[..., None]
    _check_class_numbers(levels, classes, spec.ignored_class, mask_name)
    if spec.expects_one_hot:
        return np.eye(classes, dtype=np.float32)[levels]
    return levels.astype(np.int64)


def _check_class_numbers(
    levels: Any, classes: int, ignored: int | None, mask_name: Callable[[int], str]
) -> None:
    unknown = (levels >= classes) & (levels != (-1 if ignored is None else ignored))
    if not unknown.any():
        return
    index = int(unknown.any(axis=(1, 2)).argmax())
    level = int(levels[index][unknown[index]].max())
    raise DataError(
        f"{mask_name(index)}: contains class {level}, but the model predicts {classes} classes,"
        f" 0 to {classes - 1}: ignore_class={level} in the loss ignores it"
    )
