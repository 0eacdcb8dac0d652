"""Of which model an error comes that ends the program."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

MARK = "_saldiag_model"


@contextmanager
def blaming(model: Any) -> Iterator[None]:
    """Mark the errors that leave the block as this model's; of several blocks the outer counts.

    The mark is on the error, so that nothing is kept alive.
    """
    try:
        yield
    except Exception as error:
        with suppress(AttributeError):  # a class of errors may have no room for it
            setattr(error, MARK, weakref.ref(model))
        raise


def failing_model(error: BaseException | None) -> Any:
    """The model that an error was marked with, or one that it was raised from; None without any.

    AutoGraph raises the errors of a ``tf.function`` anew.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if (mark := getattr(error, MARK, None)) is not None:
            return mark()
        error = error.__cause__ or error.__context__
    return None
