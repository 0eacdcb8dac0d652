"""What an entry of the tables is: something that was renamed, and what stands for it today.

A ``place`` is the dotted name of a module or a class as a program writes it (``keras.layers``,
``keras.Model``). What is said of ``keras`` holds for ``tf.keras`` as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

OnUse = Callable[[], None]
"""Notes that the program has used an entry."""


@dataclass(frozen=True)
class Rename:
    """Something that is not there any more.

    ``old`` is its name in ``place``, ``write`` what to write instead, empty where it is nothing.
    """

    place: str
    old: str
    write: str

    @property
    def shown(self) -> str:
        """How it is called in a message."""
        return f"{self.place}.{self.old}"

    @property
    def bridged(self) -> bool:
        """Whether something can stand for it while a program runs."""
        return True

    @property
    def advice(self) -> str:
        """What is wrong, and what to write."""
        todo = f"write {self.write}" if self.write else "leave it out"
        return f"{self.shown} is of an older version: {todo}"


@dataclass(frozen=True)
class MovedName(Rename):
    """A name in a module: ``to`` is the dotted name of what it was, or makes it; None: nothing."""

    to: str | Callable[[], Any] | None = None

    @property
    def bridged(self) -> bool:
        """Whether something stands for it."""
        return self.to is not None


@dataclass(frozen=True)
class MovedModule(MovedName):
    """A module: ``to`` is the module that has its names today; ``call`` makes it callable."""

    call: Callable[..., Any] | None = None


@dataclass
class Call:
    """The arguments of a call, to be changed."""

    args: list[Any]
    kwargs: dict[str, Any]


@dataclass(frozen=True)
class RenamedArgument(Rename):
    """A keyword of a class or a function, ``place``.

    ``change`` gets the call without the keyword, and its value; it returns False where the keyword
    is to stay as it is. ``inside`` is the class that takes it, where that is another.
    """

    change: Callable[[Call, Any], bool | None] = field(default=lambda _call, _value: None)
    inside: str = ""

    @property
    def shown(self) -> str:
        """How it is called in a message."""
        return f"{self.old}= of {self.place}"


@dataclass(frozen=True)
class RemovedMember(Rename):
    """A method or, with ``is_property``, an attribute of a class."""

    to: Callable[..., Any] = field(default=lambda _owner: None)
    put: Callable[[Any, Any], None] | None = None
    is_property: bool = False


@dataclass(frozen=True)
class ChangedMethod(Rename):
    """A method ``inside`` a class or module that takes less, or gives other things, than it did.

    ``around`` gets the method and whom to tell; ``error`` is a regular expression for what Keras
    says where nobody bridges it.
    """

    inside: str = ""
    around: Callable[[Any, OnUse], Any] = field(default=lambda original, _tell: original)
    error: str = ""

    @property
    def shown(self) -> str:
        """How it is called in a message."""
        return self.old


def rename_argument(
    new: str, values: Mapping[Any, Any] | None = None
) -> Callable[[Call, Any], None]:
    """The keyword is called ``new`` today, and some of its values otherwise."""

    def change(call: Call, value: Any) -> None:
        hashable = isinstance(value, (str, int, bool, type(None)))
        call.kwargs[new] = values.get(value, value) if values and hashable else value

    return change


def drop_argument(_call: Call, _value: Any) -> None:
    """The keyword has no meaning today."""
