"""Classes that other packages register as entry points."""

from __future__ import annotations

import inspect
from importlib.metadata import entry_points
from typing import Any, TypeVar

T = TypeVar("T")


def registered_classes(group: str, base: type[T]) -> list[type[T]]:
    """The classes that the entry points of a group name.

    Args:
        group: name of the entry-point group, such as ``saldiag.rules``.
        base: the class that each of them must be derived from.

    Raises:
        RuntimeError: an entry point names something else.
    """
    found: list[type[T]] = []
    for point in entry_points(group=group):
        value: Any = point.load()
        if not (inspect.isclass(value) and issubclass(value, base)):
            raise RuntimeError(
                f"entry point {point.name} of {group} is not a {base.__name__}: {point.value}"
            )
        found.append(value)
    return found
