"""The variables of a program whose values have changed since their initialisation."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any


class AssignedVariables:
    """A set of variables that were assigned (loaded or copied weights) or trained.

    The values alone do not show this: after a short training they look like a random
    initialisation. The set keeps no variable alive.
    """

    def __init__(self) -> None:
        # By id, because == of Keras variables compares their values.
        self._variables: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()

    def mark_assigned(self, variables: Iterable[Any]) -> None:
        """Add variables whose values are no longer the initial ones."""
        for variable in variables:
            self._variables[id(variable)] = variable

    def __contains__(self, variable: object) -> bool:
        return id(variable) in self._variables
