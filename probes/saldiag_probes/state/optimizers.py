"""The optimizers of a model and the state that they hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from saldiag.core.keras_types import KerasModel, KerasOptimizer
from saldiag.keras_internals.classes import Tracker


def optimizers_of(model: KerasModel) -> dict[str, KerasOptimizer]:
    """The model's optimizers, keyed by the name of the attribute that holds them.

    ``compile`` sets ``optimizer``; a model with a custom ``train_step`` can hold several (a GAN).
    An optimizer in two attributes is listed once, under the first.
    """
    optimizers: dict[str, KerasOptimizer] = {}
    for name, value in [("optimizer", getattr(model, "optimizer", None)), *vars(model).items()]:
        is_new = all(value is not other for other in optimizers.values())
        if isinstance(value, keras.optimizers.Optimizer) and is_new:
            optimizers[name] = value
    return optimizers


def inner_optimizer(optimizer: KerasOptimizer | None) -> Any:
    """The optimizer inside a ``LossScaleOptimizer``; any other optimizer (or None) unchanged."""
    return getattr(optimizer, "inner_optimizer", optimizer)


class OptimizerStructure:
    """A snapshot of an unbuilt optimizer's attributes and containers, to unbuild it again.

    The first step builds an optimizer for the variables it is given, and from then on it rejects
    others. A probe that left it built would break a model whose layers are unfrozen later. Values
    of variables are not part of the snapshot.
    """

    def __init__(self, optimizer: KerasOptimizer) -> None:
        self._undo: list[Callable[[], None]] = []
        self._seen: set[int] = set()
        self._remember_state(optimizer)

    def restore(self) -> None:
        """Set every recorded attribute and container back to its recorded content."""
        for undo in self._undo:
            undo()

    def _remember_state(self, value: Any) -> None:
        value = getattr(value, "__wrapped__", value)  # TensorFlow wraps dictionaries in proxies
        holds_state = isinstance(value, (keras.optimizers.Optimizer, Tracker))
        is_container = isinstance(value, (list, dict, set))
        if id(value) in self._seen or not (holds_state or is_container):
            return
        self._seen.add(id(value))
        if is_container:
            self._remember_contents(value)
        if hasattr(value, "__dict__"):
            # Keras and TensorFlow replace containers by subclasses that keep extra attributes.
            self._remember_contents(vars(value))

    def _remember_contents(self, container: Any) -> None:
        # The base classes' methods bypass what the tracking subclasses do on each change.
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
        for member in parts:
            self._remember_state(member)
