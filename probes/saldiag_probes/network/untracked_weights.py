"""Weights that a model computes with and does not list: nobody trains or saves them.

Keras finds layers in attributes, lists, tuples, dictionaries and sets of a layer; not in objects of
the user's own, a ``deque``, the closure of a function, or a ``Lambda``. It lists no ``tf.Variable``
at all. Only weights count that loss and output depend on in a way that a gradient can take: what
the loss alone is measured by, such as the features of another network, is not meant to learn.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow as tf

from saldiag.core.measurement import Source, UntrackedWeights
from saldiag.keras_internals.layers import flattened_layers
from saldiag.keras_internals.names import TRACKING_PREFIX
from saldiag_probes.trace.backward import Backward
from saldiag_probes.trace.paths import layer_paths
from saldiag_probes.trace.recorder import Call, Trace


def untracked_weights(
    model: Any, back: Backward, sources: Mapping[int, Source] | None = None
) -> tuple[UntrackedWeights, ...]:
    """The weights in the traced graph that are none of the model's.

    ``sources`` gives a layer's line of code by ``id(layer)``.
    """
    trace, reached = back.trace, back.reached & back.shown
    own = {_handle(variable) for variable in model.variables}
    found = {id(outer) for outer, inner in trace.graph.captures if inner.op.name in reached}
    in_use = found - own
    return (
        *_layers(model, trace, in_use, sources or {}),
        *_variables(model, in_use, sources or {}),
    )


def _layers(
    model: Any, trace: Trace, in_use: set[int], sources: Mapping[int, Source]
) -> Iterator[UntrackedWeights]:
    """The outermost layers that are called and that Keras does not know of, each once."""
    paths = layer_paths(model)
    seen: set[int] = set()
    for call in trace.calls:
        known = call.layer is None or id(call.layer) in paths or id(call.layer) in seen
        if known or (call.parent is not None and _inside(call.parent, seen)):
            continue
        seen.add(id(call.layer))
        weights = [v for v in call.layer.trainable_variables if _handle(v) in in_use]
        if weights:
            yield UntrackedWeights(
                layer=call.layer_path,
                name=call.kind,
                of_layer=True,
                parameters=_count(weights),
                source=sources.get(id(call.layer)),
            )


def _inside(call: Call | None, layers: set[int]) -> bool:
    while call is not None:
        if id(call.layer) in layers:
            return True
        call = call.parent
    return False


def _variables(
    model: Any, in_use: set[int], sources: Mapping[int, Source]
) -> Iterator[UntrackedWeights]:
    """TensorFlow's variables that a layer holds as an attribute of its own."""
    paths = layer_paths(model)
    for layer in flattened_layers(model):
        path = paths.get(id(layer), str(layer.name))
        for name, value in vars(layer).items():
            weights = [v for v in _parts(value) if _is_weight(v, in_use)]
            if weights and not name.startswith(TRACKING_PREFIX):
                in_use = in_use - {_handle(weight) for weight in weights}
                yield UntrackedWeights(path, name, False, _count(weights), sources.get(id(layer)))


def _parts(value: Any) -> list[Any]:
    """The value itself, or what a list, tuple or dictionary holds."""
    if isinstance(value, Mapping):
        return list(value.values())
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _is_weight(value: Any, in_use: set[int]) -> bool:
    return (
        isinstance(value, tf.Variable)
        and value.trainable
        and value.dtype.is_floating
        and _handle(value) in in_use
    )


def _handle(variable: Any) -> int:
    held = variable if isinstance(variable, tf.Variable) else variable.value
    return id(getattr(held, "handle", None))


def _count(weights: list[Any]) -> int:
    return sum(int(weight.shape.num_elements()) for weight in weights)
