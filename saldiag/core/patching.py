"""Replaces an attribute of an object, a class or a module for a while, and restores it.

The replacement is stored as it is given, without a wrapper: AutoGraph converts the functions that
it meets, or not, exactly as it would without the patch.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

MISSING = object()
"""Marks an attribute that the owner itself lacks, although its class may have it."""


class Patch:
    """Replaces an attribute until ``restore`` or ``withdraw`` is called.

    The owner's own attribute is restored as it was stored (a ``staticmethod`` as one); an inherited
    one is inherited again.

    Args:
        owner: an object, a class or a module.
        name: of the attribute.
        value: the replacement.
        untracked: whether to bypass the owner's ``__setattr__``. Keras' own tracks layers,
            variables and lists as parts of the model. Not for classes.
    """

    def __init__(self, owner: Any, name: str, value: Any, *, untracked: bool = False) -> None:
        self.owner = owner
        self.name = name
        self.value = value
        self.before = vars(owner).get(name, MISSING)
        self._set: Callable[[Any, str, Any], None] = object.__setattr__ if untracked else setattr
        self._delete: Callable[[Any, str], None] = object.__delattr__ if untracked else delattr
        self._set(owner, name, value)

    @property
    def in_place(self) -> bool:
        """Whether the owner still has the replacement; False if someone replaced it since."""
        return vars(self.owner).get(self.name, MISSING) is self.value

    def restore(self) -> None:
        """Restore the attribute, even if something else replaced it since."""
        if self.before is MISSING:
            self._delete(self.owner, self.name)
        else:
            self._set(self.owner, self.name, self.before)

    def withdraw(self) -> bool:
        """Restore the attribute unless someone replaced it since; returns whether it was restored.

        A later replacement usually calls the one before it, and would be lost. The patch then stays
        below it, so ``value`` must pass everything through from here on.
        """
        in_place = self.in_place
        if in_place:
            self.restore()
        return in_place


@contextmanager
def patched(owner: Any, name: str, value: Any, *, untracked: bool = False) -> Iterator[None]:
    """Replace an attribute during the block; afterwards restore it, even if replaced since.

    Args:
        owner: an object, a class or a module.
        name: of the attribute.
        value: the replacement.
        untracked: as in ``Patch``.
    """
    patch = Patch(owner, name, value, untracked=untracked)
    try:
        yield
    finally:
        patch.restore()


class SharedPatches:
    """Patches for blocks that nest and overlap, in any thread.

    The first block sets them and the last one restores them.

    Args:
        replacements: owner, name and replacement of each attribute.
    """

    def __init__(self, *replacements: tuple[Any, str, Any]) -> None:
        self._replacements = replacements
        self._patches: list[Patch] = []
        self._blocks = 0
        self._lock = threading.Lock()
        self._thread = threading.local()

    @property
    def is_wanted(self) -> bool:
        """Whether this thread is in a block; a replacement leaves the other threads alone."""
        return getattr(self._thread, "blocks", 0) > 0

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Have the patches in place during the block."""
        with self._lock:
            if not self._blocks:
                self._patches = [Patch(*replacement) for replacement in self._replacements]
            self._blocks += 1
        self._thread.blocks = getattr(self._thread, "blocks", 0) + 1
        try:
            yield
        finally:
            self._thread.blocks -= 1
            with self._lock:
                self._blocks -= 1
                while self._patches and not self._blocks:
                    self._patches.pop().restore()


def assign(owner: Any, name: str, value: Any) -> Callable[[], None]:
    """Assign to a property or a flag; returns a function that restores its former value.

    Unlike ``Patch``, it reads and writes the attribute by the owner's own rules: a setter runs both
    times.
    """
    before = getattr(owner, name, MISSING)
    setattr(owner, name, value)

    def restore() -> None:
        if before is MISSING:
            object.__delattr__(owner, name)
        else:
            setattr(owner, name, before)

    return restore
