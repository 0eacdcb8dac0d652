"""Types of the table entries: APIs of older versions, and their modern replacements.

An ``owner`` is the dotted name of a module or a class as a program writes it (``keras.layers``,
``keras.Model``). Entries of ``keras`` also cover ``tf.keras``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

OnUse = Callable[[], None]
"""Called when the program uses an entry."""


@dataclass(frozen=True)
class Rename:
    """An API of an older version that is not supported any more."""

    owner: str
    """Dotted name of the module, class or function that had it."""
    old_name: str
    """Its name in ``owner``."""
    replacement: str
    """What to use instead, for messages; empty if the code can be removed."""

    @property
    def display_name(self) -> str:
        """The API's name in messages."""
        return f"{self.owner}.{self.old_name}"

    @property
    def is_bridged(self) -> bool:
        """Whether ``saldiag run --compat`` can emulate it."""
        return True

    @property
    def advice(self) -> str:
        """One line for the user: ``NAME is no longer supported: WHAT TO DO``."""
        todo = f"use {self.replacement}" if self.replacement else "remove it"
        return f"{self.display_name} is no longer supported: {todo}"


@dataclass(frozen=True)
class MovedName(Rename):
    """A name in a module that moved or disappeared."""

    target: str | Callable[[], Any] | None = None
    """Dotted name of the same object today, or a function that returns a stand-in; None if it
    cannot be emulated."""

    @property
    def is_bridged(self) -> bool:
        """Whether there is a target."""
        return self.target is not None


@dataclass(frozen=True)
class MovedModule(MovedName):
    """A module; ``target`` is the module that has its names today."""

    call: Callable[..., Any] | None = None
    """What calling the module does, if its name was also that of a function; else None."""


@dataclass
class Call:
    """The arguments of a call, which translations change in place."""

    args: list[Any]
    """Positional arguments, without ``self``."""
    kwargs: dict[str, Any]
    """Keyword arguments."""


@dataclass(frozen=True)
class RenamedArgument(Rename):
    """A keyword argument of a class or a function (``owner``)."""

    translate: Callable[[Call, Any], bool | None] = field(default=lambda _call, _value: None)
    """Changes the call, which no longer has the keyword, given the keyword's value; returns False
    to leave the keyword in the call."""
    taken_by: str = ""
    """Dotted name of the class whose ``__init__`` receives it; empty for ``owner``."""

    @property
    def display_name(self) -> str:
        """The argument's name in messages."""
        return f"{self.old_name}= of {self.owner}"


@dataclass(frozen=True)
class RemovedMember(Rename):
    """A method or an attribute that a class no longer has."""

    getter: Callable[..., Any] = field(default=lambda _owner: None)
    """The method itself, or the function that computes the attribute."""
    setter: Callable[[Any, Any], None] | None = None
    """Sets the attribute; None if it cannot be set."""
    is_property: bool = False
    """Whether it is an attribute, not a method."""


@dataclass(frozen=True)
class ChangedMethod(Rename):
    """A method that accepts less, or returns something else, than it did."""

    method: str = ""
    """Dotted name of the method or function."""
    wrap: Callable[[Any, OnUse], Any] = field(default=lambda original, _on_use: original)
    """Returns the replacement of the method, given the method and what to call when it is used."""
    error_pattern: str = ""
    """Regular expression for the error message without the bridge; empty if there is none."""

    @property
    def display_name(self) -> str:
        """The usage's name in messages."""
        return self.old_name


def rename_argument(
    new_name: str, values: Mapping[Any, Any] | None = None
) -> Callable[[Call, Any], None]:
    """A translation to the keyword ``new_name``; ``values`` maps old values to new ones."""

    def translate_argument(call: Call, value: Any) -> None:
        hashable = isinstance(value, (str, int, bool, type(None)))
        call.kwargs[new_name] = values.get(value, value) if values and hashable else value

    return translate_argument


def drop_argument(_call: Call, _value: Any) -> None:
    """A translation that removes the keyword, which has no meaning today."""
