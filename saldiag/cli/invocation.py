"""What holds for one invocation of the command line, whichever command it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import click


@dataclass
class Invocation:
    """The object that click hands to every command of one invocation."""

    command_line: tuple[str, ...] = ()
    """The arguments as typed."""
    debug: bool = False
    """Whether errors show their traceback, and worker processes their output."""
    before_exit: Callable[[], None] | None = None
    """Called before the process ends, where the command line is a process of its own."""


def invocation() -> Invocation:
    """The invocation that the running command belongs to."""
    found = click.get_current_context().find_object(Invocation)
    return found if found is not None else Invocation()
