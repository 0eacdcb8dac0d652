"""The observer does not disturb: everything a probe's own pass could change is put back."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from saldiag.keras_internals.state import (
    eager_random_state,
    keras_seed_generator,
    open_name_scopes,
    set_eager_random_state,
    set_keras_seed_generator,
    tensorflow_generator,
)
from saldiag.keras_internals.variables import ResourceVariable
from saldiag_probes.state.optimizers import OptimizerStructure, optimizers_of


@contextlib.contextmanager
def undisturbed(model: Any, optimizer: Any = None) -> Iterator[None]:
    """Restore, at the end of the block, all state that a forward, backward or step can change.

    That is: the model's variables (weights, BatchNorm's statistics, seed states), its metrics,
    its optimizers (those on the model and ``optimizer``; one that was not built yet is unbuilt
    again), the random states of Keras, TensorFlow, numpy and ``random``, and the name scopes
    that are open. Values come back bit for bit, also when the block raises.

    A model that is not built yet gets its variables inside the block and keeps them: build it
    first. To be used outside of ``tf.function``.
    """
    optimizers = [*optimizers_of(model).values(), *([] if optimizer is None else [optimizer])]
    structures = [OptimizerStructure(o) for o in optimizers if not o.built]
    randomness = _RandomState()
    # Reading shares the buffer until somebody writes (TensorFlow copies on write), so this costs
    # memory only for what the block changes.
    values = [(tensor, _read(tensor)) for tensor in _variables(model, optimizers)]
    known = {id(variable) for variable, _ in values}
    try:
        with same_scopes():
            yield
    finally:
        for metric in model.metrics:
            if any(id(_raw(variable)) not in known for variable in metric.variables):
                metric.reset_state()  # it was built inside the block
        for structure in structures:
            structure.restore()
            model.train_function = None  # it may hold variables that the optimizer had inside
        for variable, value in values:
            _assign(variable, value)
        randomness.restore()


@contextlib.contextmanager
def same_draws() -> Iterator[None]:
    """Restore, at the end of the block, the random states that a block without a model moves.

    These are those of Keras, TensorFlow, numpy and ``random``.
    """
    randomness = _RandomState()
    try:
        with same_scopes():
            yield
    finally:
        randomness.restore()


@contextlib.contextmanager
def same_scopes() -> Iterator[None]:
    """Close, at the end of the block, the name scopes of Keras that the block left open.

    A scope is opened in two steps, and one that fails in the second (TensorFlow refuses the
    layer's name, or Ctrl-C) stays: every variable made later would have it in its path.
    """
    before = list(open_name_scopes())
    try:
        yield
    finally:
        scopes = open_name_scopes()
        if scopes[: len(before)] == before:
            del scopes[len(before) :]


def _variables(model: Any, optimizers: list[Any]) -> list[Any]:
    """Every ``tf.Variable`` behind the model, its metrics and the optimizers, each once."""
    holders = [model, *model.metrics, *optimizers]
    raw = [_raw(variable) for holder in holders for variable in holder.variables]
    return list({id(variable): variable for variable in raw}.values())


def _raw(variable: Any) -> Any:
    return variable.value if isinstance(variable, keras.Variable) else variable


def _read(variable: Any) -> Any:
    """The value, at a fifth of what ``read_value`` costs: around every look there are hundreds."""
    if not isinstance(variable, ResourceVariable):  # one of a distribution strategy
        return variable.read_value()
    return tf.raw_ops.ReadVariableOp(resource=variable.handle, dtype=variable.dtype)


def _assign(variable: Any, value: Any) -> None:
    if isinstance(variable, ResourceVariable):
        tf.raw_ops.AssignVariableOp(resource=variable.handle, value=value)
    else:
        variable.assign(value)


_ALIVE: list[Any] = []
"""Seed generators that Keras made inside a block: functions traced there go on using them, and a
traced function does not keep its variables alive."""


class _RandomState:
    """The states of all global random generators in reach of Keras code."""

    def __init__(self) -> None:
        self._python = random.getstate()
        self._numpy = np.random.get_state()  # noqa: NPY002 - users draw from the global state
        self._keras = keras_seed_generator()
        self._keras_value = None if self._keras is None else self._keras.state.value.read_value()
        self._tensorflow = tensorflow_generator()
        self._tensorflow_value = (
            None if self._tensorflow is None else self._tensorflow.state.read_value()
        )
        self._eager = eager_random_state()

    def restore(self) -> None:
        random.setstate(self._python)
        np.random.set_state(self._numpy)  # noqa: NPY002 - as above
        inside = keras_seed_generator()
        if inside is not self._keras:
            _ALIVE.append(inside)
        set_keras_seed_generator(self._keras)
        if self._keras is not None:
            self._keras.state.value.assign(self._keras_value)
        tf.random.set_global_generator(self._tensorflow)
        if self._tensorflow is not None:
            self._tensorflow.state.assign(self._tensorflow_value)
        self._restore_eager()

    def _restore_eager(self) -> None:
        """Eager random ops draw their seeds from the context, and keep state in cached kernels."""
        if self._eager is None or eager_random_state() == self._eager:
            return
        set_eager_random_state(self._eager)
