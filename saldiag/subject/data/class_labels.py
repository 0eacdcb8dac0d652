"""Class names as the targets that the model's loss expects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from saldiag.core.errors import DataError
from saldiag.core.wording import printable
from saldiag.subject.models.input_spec import InputSpec

MAX_LISTED_CLASSES = 10
"""How many classes the note for the user lists by name."""


def labels_for_loss(
    numbers: np.ndarray[Any, Any], classes: Sequence[str], spec: InputSpec, where: str
) -> tuple[np.ndarray[Any, Any], tuple[str, ...]]:
    """Targets for class numbers, and a note for the user that lists the classes.

    Args:
        numbers: class numbers, shape (N,).
        classes: class names by number.
        spec: the model's output and loss.
        where: the data's name in messages.

    Returns:
        int64 of shape (N,); float32 of shape (N, 1) if the model has one output value; one-hot
        float32 of shape (N, classes) if the loss expects it. And the note.

    Raises:
        DataError: there is only one class, or more classes than the model's output has values.
    """
    if len(classes) < 2:
        raise DataError(f"{where}: only {len(classes)} class: at least two are needed")
    outputs = spec.output_classes
    if outputs is not None and outputs < len(classes) and (outputs, len(classes)) != (1, 2):
        raise DataError(
            f"{where}: {len(classes)} classes, but the model's output has shape"
            f" {spec.output_shape}: its last axis needs one value per class"
        )
    listed = ", ".join(
        f"{i} {printable(name)}" for i, name in enumerate(classes[:MAX_LISTED_CLASSES])
    )
    unlisted = len(classes) - MAX_LISTED_CLASSES
    note = (f"classes by number: {listed}{f' and {unlisted} more' if unlisted > 0 else ''}",)
    if outputs == 1:
        return numbers.astype(np.float32)[:, None], note
    if spec.expects_one_hot:
        return np.eye(outputs or len(classes), dtype=np.float32)[numbers], note
    return numbers.astype(np.int64), note
