"""Finds the model in whose call or training an error arose."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from saldiag.core.keras_types import KerasModel

MODEL_ATTRIBUTE = "_saldiag_model"
"""Attribute of an error: a weak reference to the model."""


@contextmanager
def errors_marked_with(model: KerasModel) -> Iterator[None]:
    """Mark the errors that leave the block with the model; the outermost block wins.

    The mark is an attribute of the error, and is deleted with it.
    """
    try:
        yield
    except Exception as error:
        with suppress(AttributeError):  # an error class with __slots__ takes no attribute
            setattr(error, MODEL_ATTRIBUTE, weakref.ref(model))
        raise


def failing_model(error: BaseException | None) -> Any:
    """The model that an error is marked with; None if there is none, or it was deleted.

    The causes of the error are searched too, because AutoGraph replaces errors of a
    ``tf.function`` by errors of its own.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if (mark := getattr(error, MODEL_ATTRIBUTE, None)) is not None:
            return mark()
        error = error.__cause__ or error.__context__
    return None
