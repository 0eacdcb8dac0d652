"""Probes leave no trace: everything that a probe's own pass could change is restored."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from saldiag.core.keras_types import KerasModel, KerasOptimizer, TFVariable
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
def preserved_state(model: KerasModel, optimizer: KerasOptimizer | None = None) -> Iterator[None]:
    """Restore, at the end of the block, all state that a pass or a step through the model changes.

    Restored are the model's variables (weights, moving statistics, seed states), its metrics, its
    optimizers, the random states of Keras, TensorFlow, NumPy and ``random``, and the open Keras
    name scopes. Values come back bit for bit, also when the block raises. An optimizer that was not
    built before is unbuilt again.

    Use it outside of ``tf.function``. Build the model first: variables that a model creates inside
    the block stay.

    Args:
        model: any Keras model.
        optimizer: one more optimizer to restore, beside those in the model's attributes.
    """
    optimizers = [*optimizers_of(model).values(), *([] if optimizer is None else [optimizer])]
    structures = [OptimizerStructure(o) for o in optimizers if not o.built]
    randomness = _RandomState()
    # Reading shares the buffer until somebody writes (TensorFlow copies on write), so this costs
    # memory only for what the block changes.
    values = [(tensor, _read_value(tensor)) for tensor in _tracked_variables(model, optimizers)]
    saved = {id(variable) for variable, _ in values}
    try:
        with preserved_name_scopes():
            yield
    finally:
        for metric in model.metrics:
            if any(id(backing_variable(variable)) not in saved for variable in metric.variables):
                metric.reset_state()  # built inside the block
        for structure in structures:
            structure.restore()
            model.train_function = None  # it may use variables that the block created
        for variable, value in values:
            _assign_value(variable, value)
        randomness.restore()


@contextlib.contextmanager
def preserved_random_state() -> Iterator[None]:
    """Restore, at the end of the block, the global random states and the open Keras name scopes.

    The random states are those of Keras, TensorFlow, NumPy and ``random``. For a block that runs no
    model; otherwise use ``preserved_state``.
    """
    randomness = _RandomState()
    try:
        with preserved_name_scopes():
            yield
    finally:
        randomness.restore()


@contextlib.contextmanager
def preserved_name_scopes() -> Iterator[None]:
    """Close, at the end of the block, the Keras name scopes that the block left open.

    Keras opens a scope in two steps. If the second one fails (TensorFlow rejects the layer's name,
    or Ctrl-C arrives), the scope stays open, and the path of every variable created later contains
    it.
    """
    before = list(open_name_scopes())
    try:
        yield
    finally:
        scopes = open_name_scopes()
        if scopes[: len(before)] == before:
            del scopes[len(before) :]


def _tracked_variables(model: KerasModel, optimizers: list[KerasOptimizer]) -> list[TFVariable]:
    """Every ``tf.Variable`` behind the model, its metrics and the optimizers, each once."""
    holders = [model, *model.metrics, *optimizers]
    raw = [backing_variable(variable) for holder in holders for variable in holder.variables]
    return list({id(variable): variable for variable in raw}.values())


def backing_variable(variable: TFVariable) -> TFVariable:
    """The ``tf.Variable`` behind a Keras variable; any other variable unchanged."""
    return variable.value if isinstance(variable, keras.Variable) else variable


def _read_value(variable: TFVariable) -> Any:
    """The value of a ``tf.Variable``.

    The raw operation costs a fifth of ``read_value``, and a model has hundreds of variables.
    """
    if not isinstance(variable, ResourceVariable):  # a distributed variable
        return variable.read_value()
    return tf.raw_ops.ReadVariableOp(resource=variable.handle, dtype=variable.dtype)


def _assign_value(variable: TFVariable, value: Any) -> None:
    if isinstance(variable, ResourceVariable):
        tf.raw_ops.AssignVariableOp(resource=variable.handle, value=value)
    else:
        variable.assign(value)


_KEPT_SEED_GENERATORS: list[Any] = []
"""Seed generators that Keras created inside a block. Functions traced there keep using them, but a
traced function does not keep its variables alive."""


class _RandomState:
    """A snapshot of all global random generators that Keras code can draw from."""

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
        current = keras_seed_generator()
        if current is not self._keras:
            _KEPT_SEED_GENERATORS.append(current)
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
