"""Names of classes as the numbers that the model's loss compares with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from saldiag.core.errors import DataError
from saldiag.core.wording import printable
from saldiag.subject.models.input_spec import InputSpec

SHOWN = 10
"""Classes that are listed by name."""


def as_labels(
    numbers: np.ndarray[Any, Any], classes: Sequence[str], takes: InputSpec, where: str
) -> tuple[np.ndarray[Any, Any], tuple[str, ...]]:
    """Class numbers (N,) as int64, (N, 1) for one output of two classes, or one-hot (N, classes).

    Also a line for the user that says which number is which class.

    Raises:
        DataError: there is but one class, or the model has fewer outputs than there are classes.
    """
    if len(classes) < 2:
        raise DataError(f"{where}: {len(classes)} class is nothing to learn: two are needed")
    outputs = takes.classes
    if outputs is not None and outputs < len(classes) and (outputs, len(classes)) != (1, 2):
        raise DataError(
            f"{where}: {len(classes)} classes, and the model's output is {takes.output}: its last"
            " axis has to have a number for each class"
        )
    listed = ", ".join(f"{i} {printable(name)}" for i, name in enumerate(classes[:SHOWN]))
    more = f" and {len(classes) - SHOWN} more" if len(classes) > SHOWN else ""
    note = (f"classes by number: {listed}{more}",)
    if outputs == 1:
        return numbers.astype(np.float32)[:, None], note
    if takes.one_hot:
        return np.eye(outputs or len(classes), dtype=np.float32)[numbers], note
    return numbers.astype(np.int64), note
