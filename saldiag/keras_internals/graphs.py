"""Graphs of TensorFlow: functions, constants, branches, stack traces, and notes on tensors.

``CONSTANT_MODULE`` holds ``names.CONSTANT_FUNCTION``. A graph has a constant only in its own
dtype; that a Python number became 0 on the way is seen in that function alone.
"""

from __future__ import annotations

import functools
import weakref
from typing import Any

import tensorflow as tf
from tensorflow.core.framework import attr_value_pb2
from tensorflow.python.eager.polymorphic_function.concrete_function import ConcreteFunction
from tensorflow.python.eager.polymorphic_function.polymorphic_function import (
    Function as GraphFunction,
)
from tensorflow.python.framework import op_def_registry
from tensorflow.python.framework import ops as CONSTANT_MODULE  # noqa: N812 - patched by recorder
from tensorflow.python.framework.ops import gradient_registry
from tensorflow.python.framework.registry import Registry
from tensorflow.python.ops import control_flow_util
from tensorflow.python.util import tf_stack

from saldiag.keras_internals.names import CUSTOM_GRADIENT, KERAS_NOTE_PREFIX, SCRATCH_GRAPH

__all__ = [
    "CONSTANT_MODULE",
    "NOT_INLINED",
    "ConcreteFunction",
    "GraphFunction",
    "Registry",
    "call_branches_like_functions",
    "converted_lines",
    "copy_notes",
    "draws_from_kernels",
    "has_own_gradient",
    "history_of",
    "is_compiled_by_xla",
    "is_scratch_graph",
    "is_xla_function",
    "logits_behind",
    "mask_of",
    "register_for_the_graph",
    "set_mask",
    "stack_trace",
    "untraced_copy",
    "with_own_kernels",
]

NOT_INLINED = {"_noinline": True}
"""Attributes that keep a ``tf.function`` a call in the graph; there is no public option."""


def call_branches_like_functions(conditional: Any) -> None:
    """Keep an ``If`` operation as one operation instead of inlining it; no public option does."""
    whole = attr_value_pb2.AttrValue(b=False)
    conditional._set_attr("_lower_using_switch_merge", whole)


def has_own_gradient(operation: Any) -> bool:
    """Whether ``tf.custom_gradient`` created this operation; there is no public flag."""
    return operation.type == "IdentityN" and "_gradient_op_type" in operation.node_def.attr


def is_compiled_by_xla() -> bool:
    """Whether the function that is being traced will be compiled by XLA; no public flag says so."""
    graph = tf.compat.v1.get_default_graph()
    return bool(control_flow_util.GraphOrParentsInXlaContext(graph))


_register = Registry.register


def register_for_the_graph(self: Any, candidate: Any, name: str | None = None) -> None:
    """``Registry``'s method ``register``; a custom gradient is forgotten with its graph.

    Each ``tf.custom_gradient`` in a graph registers a function with a name of its own. TensorFlow
    keeps it forever, and by it the tensors and the graph, 5 MB for each training of a small model.
    Here the graph holds the function, and the registry a weak reference.
    """
    if self is not gradient_registry or not str(name).startswith(CUSTOM_GRADIENT):
        _register(self, candidate, name)
        return
    graph = CONSTANT_MODULE.get_default_graph()
    held = getattr(graph, _OWN_GRADIENTS, ())
    setattr(graph, _OWN_GRADIENTS, (*held, candidate))
    found: Any = weakref.ref(candidate, lambda _: self._registry.pop(name, None))

    def gradient(*arguments: Any) -> Any:
        return found()(*arguments)

    _register(self, gradient, name)


_OWN_GRADIENTS = "saldiag_custom_gradients"


def is_scratch_graph(graph: Any) -> bool:
    """Whether Keras only infers shapes in this graph; there is no public flag."""
    return bool(graph.name.startswith(SCRATCH_GRAPH))


def converted_lines() -> dict[tuple[str, int], tuple[str, int]]:
    """The original file and line of each line of code that AutoGraph is converting, in any thread.

    TensorFlow maps stack traces in the thread that converts; a replica's is another one.
    """
    return {
        converted: (found[0], found[1])
        for mappers in list(tf_stack._source_mapper_stacks.values())
        for converted, found in mappers[-1].get_effective_source_map().items()
    }


def stack_trace() -> Any:
    """The current stack, with the original lines of converted code, which Python does not know."""
    return tf_stack.extract_stack()


def with_own_kernels(function: Any) -> Any:
    """A copy of a traced function with new random kernels; nothing is traced again."""
    return ConcreteFunction.from_func_graph(
        function.graph, function.function_type, function.inference_fn.attributes
    )


def draws_from_kernels(function: Any) -> bool:
    """Whether a traced function, or one that it calls, has a random operation with a state."""
    return any(map(_has_random_kernel, (function, *function.graph._functions.values())))


def _has_random_kernel(function: Any) -> bool:
    kinds = {operation.type for operation in function.graph.get_operations()}
    return any(_is_random(kind) for kind in kinds)


@functools.cache
def _is_random(kind: str) -> bool:
    definition = op_def_registry.get(kind)
    return (
        definition is not None
        and definition.is_stateful
        and any(attribute.name == "seed2" for attribute in definition.attr)
    )


def is_xla_function(function: Any) -> bool:
    """Whether a ``tf.function`` has ``jit_compile=True``; there is no public reader."""
    return bool(function._jit_compile)


def untraced_copy(function: Any) -> Any:
    """A ``tf.function`` with the same options that has traced nothing; only private code copies."""
    return function._clone(None)


def logits_behind(tensor: Any) -> Any:
    """The logits that Keras' cross-entropies use instead, or None; there is no public getter."""
    return getattr(tensor, "_keras_logits", None)


def mask_of(tensor: Any) -> Any:
    """The mask that a layer computed for a tensor, or None; there is no public getter."""
    return getattr(tensor, "_keras_mask", None)


def set_mask(tensor: Any, mask: Any) -> None:
    """Attach a mask to a tensor; there is no public setter."""
    tensor._keras_mask = mask


def copy_notes(source: Any, target: Any) -> None:
    """Copy everything that Keras attached to one tensor to another; there is no public API."""
    for name, value in vars(source).items():
        if name.startswith(KERAS_NOTE_PREFIX):
            setattr(target, name, value)


def history_of(tensor: Any) -> Any:
    """The operation that created a symbolic tensor, with its indices, or None; not public."""
    return getattr(tensor, "_keras_history", None)
