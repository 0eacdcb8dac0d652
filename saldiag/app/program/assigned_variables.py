"""Which variables of a program have got values since they were made."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any


class Learnt:
    """Variables that were assigned (weights were loaded or copied) or trained; holds none alive.

    After a short training, values cannot be told from a random start by looking at them.
    """

    def __init__(self) -> None:
        # By id: a Keras variable compares its values.
        self._variables: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()

    def note(self, variables: Iterable[Any]) -> None:
        """These have other values now than at their start."""
        for variable in variables:
            self._variables[id(variable)] = variable

    def __contains__(self, variable: object) -> bool:
        return id(variable) in self._variables
