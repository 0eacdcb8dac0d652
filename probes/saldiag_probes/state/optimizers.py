"""Which optimizers a model has, and what state they hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from saldiag.keras_internals.classes import Tracker


def optimizers_of(model: Any) -> dict[str, Any]:
    """The model's optimizers by the name of the attribute that holds them.

    ``compile`` sets ``optimizer``; a model with its own ``train_step`` may hold several (a GAN).
    One that two attributes share counts once.
    """
    found: dict[str, Any] = {}
    for name, value in [("optimizer", getattr(model, "optimizer", None)), *vars(model).items()]:
        is_new = all(value is not other for other in found.values())
        if isinstance(value, keras.optimizers.Optimizer) and is_new:
            found[name] = value
    return found


def inner(optimizer: Any) -> Any:
    """The optimizer itself, without what scales the loss around it."""
    return getattr(optimizer, "inner_optimizer", optimizer)


class OptimizerStructure:
    """Remembers an unbuilt optimizer's lists and attributes, to unbuild it again.

    The first step builds an optimizer for the variables it is given and refuses others from then
    on; a probe that leaves it built would make a model fail whose layers are unfrozen later.
    Values of variables are not its business.
    """

    def __init__(self, optimizer: Any) -> None:
        self._undo: list[Callable[[], None]] = []
        self._seen: set[int] = set()
        self._remember(optimizer)

    def restore(self) -> None:
        """Put every remembered attribute and container back to what it held."""
        for undo in self._undo:
            undo()

    def _remember(self, thing: Any) -> None:
        thing = getattr(thing, "__wrapped__", thing)  # TensorFlow hides dictionaries in proxies
        holds_state = isinstance(thing, (keras.optimizers.Optimizer, Tracker))
        container = isinstance(thing, (list, dict, set))
        if id(thing) in self._seen or not (holds_state or container):
            return
        self._seen.add(id(thing))
        if container:
            self._remember_contents(thing)
        if hasattr(thing, "__dict__"):
            # TensorFlow and Keras make of lists subclasses with bookkeeping of their own.
            self._remember_contents(vars(thing))

    def _remember_contents(self, container: Any) -> None:
        if isinstance(container, dict):
            mapping = dict(dict.items(container))
            self._undo.append(lambda: (dict.clear(container), dict.update(container, mapping))[0])
            parts = list(mapping.values())
        elif isinstance(container, list):
            items = list(list.__iter__(container))
            self._undo.append(lambda: (list.clear(container), list.extend(container, items))[0])
            parts = items
        else:
            members = set(set.__iter__(container))
            self._undo.append(lambda: (set.clear(container), set.update(container, members))[0])
            parts = []
        for part in parts:
            self._remember(part)
