"""A mapping by identity that keeps no key alive, for objects that may not be hashable."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

V = TypeVar("V")


class WeakIdentityMap(Generic[V]):
    """Values by object; an object may define ``__eq__``, and its entry ends with it."""

    def __init__(self) -> None:
        self._entries: dict[int, tuple[weakref.ref[Any], V]] = {}

    def __setitem__(self, key: Any, value: V) -> None:
        address = id(key)

        def forget(reference: weakref.ref[Any]) -> None:
            if self._entries.get(address, (None,))[0] is reference:
                del self._entries[address]

        self._entries[address] = weakref.ref(key, forget), value

    def __getitem__(self, key: Any) -> V:
        reference, value = self._entries[id(key)]
        if reference() is not key:
            raise KeyError(key)
        return value

    def __contains__(self, key: object) -> bool:
        entry = self._entries.get(id(key))
        return entry is not None and entry[0]() is key

    def get(self, key: Any) -> V | None:
        """The value of an object; None if it has none."""
        try:
            return self[key]
        except KeyError:
            return None

    def pop(self, key: Any) -> V | None:
        """Remove an object; returns its value, None if it had none."""
        return self._entries.pop(id(key))[1] if key in self else None

    def items(self) -> list[tuple[Any, V]]:
        """The objects that are alive, with their values, in the order of their entries."""
        found = [(reference(), value) for reference, value in list(self._entries.values())]
        return [(key, value) for key, value in found if key is not None]

    def values(self) -> Iterator[V]:
        """The values of the objects that are alive."""
        return iter([value for _, value in list(self._entries.values())])
