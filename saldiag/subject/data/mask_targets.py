"""Masks as the model's loss compares them: object or not, or the number of a class."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from saldiag.core.errors import DataError
from saldiag.subject.models.input_spec import InputSpec

THRESHOLD = 128
"""Grey levels from here on are object, in masks of 0 and 255."""


def classes_of(takes: InputSpec) -> int:
    """Numbers that the model has for each pixel; one where it does not tell."""
    output = takes.output
    return (output[-1] or 1) if output and len(output) == 4 else 1


def as_targets(levels: Any, takes: InputSpec, name: Callable[[int], str]) -> Any:
    """Masks (N, H, W) of grey levels as float32 (N, H, W, 1) in {0, 1}, or class numbers (N, H, W).

    Class numbers are one-hot (N, H, W, classes) where the loss compares so.

    Args:
        levels: uint8; what they mean depends on how many numbers the model has for a pixel.
        takes: what the model takes.
        name: how to call a mask of that number.

    Raises:
        DataError: there is a class in a mask that the model does not tell.
    """
    classes = classes_of(takes)
    if classes == 1:
        # Masks of 0 and 1 are as frequent as those of 0 and 255.
        threshold = 1 if levels.max() <= 1 else THRESHOLD
        return (levels >= threshold).astype(np.float32)[..., None]
    _refuse_unknown(levels, classes, takes.ignored_class, name)
    if takes.one_hot:
        return np.eye(classes, dtype=np.float32)[levels]
    return levels.astype(np.int64)


def _refuse_unknown(
    levels: Any, classes: int, ignored: int | None, name: Callable[[int], str]
) -> None:
    wrong = (levels >= classes) & (levels != (-1 if ignored is None else ignored))
    if not wrong.any():
        return
    index = int(wrong.any(axis=(1, 2)).argmax())
    level = int(levels[index][wrong[index]].max())
    raise DataError(
        f"{name(index)}: class {level} in it, and the model tells {classes} classes, 0 to"
        f" {classes - 1}: ignore_class={level} in the loss leaves it out"
    )
