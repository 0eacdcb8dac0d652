"""Probes leave no trace: everything that a probe's own pass could change is restored."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keras

from saldiag.core.keras_types import KerasModel, KerasOptimizer, TFVariable
from saldiag.core.patching import SharedPatches
from saldiag.keras_internals.graphs import Registry, register_for_the_graph
from saldiag.keras_internals.names import REGISTER
from saldiag.keras_internals.state import open_name_scopes
from saldiag_probes.state.optimizers import OptimizerStructure, optimizers_of
from saldiag_probes.state.random_state import preserved_generators
from saldiag_probes.state.touched_resources import TouchedResources, preserved_resources


@contextlib.contextmanager
def preserved_state(
    model: KerasModel, optimizer: KerasOptimizer | None = None
) -> Iterator[TouchedResources]:
    """Restore, at the end of the block, all state that a pass or a step through the model changes.

    Restored are the model's variables (weights, moving statistics, seed states), its metrics, its
    optimizers, every other variable and hash table that the block uses (a counter in a loss, a
    generator), the random states of Keras, TensorFlow, NumPy and ``random``, and the open Keras
    name scopes. Values come back bit for bit, also when the block raises. An optimizer that was not
    built before is unbuilt again. What ``preserved_resources`` doesn't cover stays changed.

    The block gets the record of the resources that it uses.

    Use it outside of ``tf.function``. Build the model first: variables that a model creates inside
    the block stay.

    Args:
        model: any Keras model.
        optimizer: one more optimizer to restore, beside those in the model's attributes.
    """
    optimizers = [*optimizers_of(model).values(), *([] if optimizer is None else [optimizer])]
    structures = [OptimizerStructure(o) for o in optimizers if not o.built]
    variables = _tracked_variables(model, optimizers)
    saved = {id(variable) for variable in variables}
    with (
        preserved_generators(),
        _gradients_of_graphs.in_place(),
        preserved_resources(variables) as used,
    ):
        try:
            with preserved_name_scopes():
                yield used
        finally:
            for metric in model.metrics:
                if any(
                    id(backing_variable(variable)) not in saved for variable in metric.variables
                ):
                    metric.reset_state()  # built inside the block
            for structure in structures:
                structure.restore()
                model.train_function = None  # it may use variables that the block created


@contextlib.contextmanager
def preserved_random_state() -> Iterator[None]:
    """Restore, at the end of the block, random states, name scopes and the variables that it uses.

    The random states are those of Keras, TensorFlow, NumPy and ``random``. For a block that runs no
    model; otherwise use ``preserved_state``.
    """
    with (
        preserved_generators(),
        _gradients_of_graphs.in_place(),
        preserved_resources(),
        preserved_name_scopes(),
    ):
        yield


_gradients_of_graphs = SharedPatches((Registry, REGISTER, register_for_the_graph))
"""Let TensorFlow forget the custom gradients of a graph with it."""


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
