"""Weights that a model computes with but does not list: they are neither trained nor saved.

Keras finds layers in attributes, lists, tuples, dictionaries and sets of a layer. It does not find
them in other objects, a ``deque``, the closure of a function, or a ``Lambda``, and it lists no
``tf.Variable`` at all. Only weights from which a gradient path leads both to the loss and to an
output count: those that only the loss uses, such as another network's features, are not meant to
learn.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow as tf

from saldiag.core.keras_types import KerasModel, KerasVariable, TFVariable
from saldiag.core.measurement import Source, UntrackedWeights
from saldiag.keras_internals.layers import flattened_layers
from saldiag.keras_internals.names import TRACKING_PREFIX
from saldiag_probes.trace.backward import LossDependencies
from saldiag_probes.trace.calls import Trace, TracedCall
from saldiag_probes.trace.paths import layer_paths


def untracked_weights(
    model: KerasModel, dependencies: LossDependencies, sources: Mapping[int, Source] | None = None
) -> tuple[UntrackedWeights, ...]:
    """The weights in the traced graph that the model does not list.

    Args:
        model: the traced model.
        dependencies: of its loss.
        sources: line of code by ``id(layer)``.
    """
    trace, reached = (
        dependencies.trace,
        dependencies.reached_by_gradient & dependencies.reached_from_outputs,
    )
    tracked = {_handle_id(variable) for variable in model.variables}
    captured = {id(outer) for outer, inner in trace.graph.captures if inner.op.name in reached}
    in_use = captured - tracked
    return (
        *_untracked_layers(model, trace, in_use, sources or {}),
        *_untracked_variables(model, in_use, sources or {}),
    )


def _untracked_layers(
    model: KerasModel, trace: Trace, in_use: set[int], sources: Mapping[int, Source]
) -> Iterator[UntrackedWeights]:
    """The outermost called layers that Keras does not track, each once."""
    paths = layer_paths(model)
    seen: set[int] = set()
    for call in trace.calls:
        layer = call.layer
        if layer is None or id(layer) in paths or id(layer) in seen:
            continue
        if call.parent is not None and _is_inside(call.parent, seen):
            continue
        seen.add(id(layer))
        weights = [v for v in layer.trainable_variables if _handle_id(v) in in_use]
        if weights:
            yield UntrackedWeights(
                layer=call.layer_path,
                name=call.kind,
                of_layer=True,
                parameters=_count_elements(weights),
                source=sources.get(id(layer)),
            )


def _is_inside(call: TracedCall | None, layers: set[int]) -> bool:
    while call is not None:
        if id(call.layer) in layers:
            return True
        call = call.parent
    return False


def _untracked_variables(
    model: KerasModel, in_use: set[int], sources: Mapping[int, Source]
) -> Iterator[UntrackedWeights]:
    """``tf.Variable`` objects in the attributes of a tracked layer."""
    paths = layer_paths(model)
    for layer in flattened_layers(model):
        path = paths.get(id(layer), str(layer.name))
        for name, value in vars(layer).items():
            weights = [v for v in _contained_values(value) if _is_weight(v, in_use)]
            if weights and not name.startswith(TRACKING_PREFIX):
                in_use = in_use - {_handle_id(weight) for weight in weights}
                yield UntrackedWeights(
                    path, name, False, _count_elements(weights), sources.get(id(layer))
                )


def _contained_values(value: Any) -> list[Any]:
    """The value itself, or the entries of a list, tuple or dictionary."""
    if isinstance(value, Mapping):
        return list(value.values())
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _is_weight(value: Any, in_use: set[int]) -> bool:
    return (
        isinstance(value, tf.Variable)
        and value.trainable
        and value.dtype.is_floating
        and _handle_id(value) in in_use
    )


def _handle_id(variable: KerasVariable | TFVariable) -> int:
    """Identity of the resource behind a Keras variable or a ``tf.Variable``."""
    held = variable if isinstance(variable, tf.Variable) else variable.value
    return id(getattr(held, "handle", None))


def _count_elements(weights: list[KerasVariable]) -> int:
    return sum(int(weight.shape.num_elements()) for weight in weights)
