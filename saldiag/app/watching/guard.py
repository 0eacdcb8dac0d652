"""The one guard between saldiag's own code and the user's program."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from saldiag.core.interrupts import reraise_interrupt
from saldiag_probes.hooks.engine import HOOKS

T = TypeVar("T")


@contextmanager
def working_quietly() -> Iterator[None]:
    """Nobody observes what saldiag does in the block, and Keras' warnings are not shown.

    The program causes them again. ``catch_warnings`` also resets Python's record of warnings
    already shown, so none of the program's are lost.
    """
    with HOOKS.suspended(), warnings.catch_warnings(record=True):
        yield


def guarded(action: Callable[[], T], on_error: Callable[[Exception], None]) -> T | None:
    """Run a part of saldiag inside the program; an error in it never reaches the program.

    Ctrl-C does.

    Args:
        action: what to run, unobserved and without warnings.
        on_error: called with the error; None is returned then.
    """
    try:
        with working_quietly():
            return action()
    except Exception as error:
        reraise_interrupt(error)
        on_error(error)
        return None
