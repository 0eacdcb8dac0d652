"""Graphs of TensorFlow: their functions, constants, branches and stack traces.

``CONSTANT_MODULE`` holds ``names.CONSTANT_FUNCTION``. A graph has a constant only in its own
dtype; that a Python number became 0 on the way is seen in that function alone.
"""

from __future__ import annotations

from typing import Any

from tensorflow.core.framework import attr_value_pb2
from tensorflow.python.eager.polymorphic_function.polymorphic_function import (
    Function as GraphFunction,
)
from tensorflow.python.framework import ops as CONSTANT_MODULE  # noqa: N812 - patched by recorder
from tensorflow.python.util import tf_stack

from saldiag.keras_internals.names import SCRATCH_GRAPH

__all__ = [
    "CONSTANT_MODULE",
    "NOT_INLINED",
    "GraphFunction",
    "call_branches_like_functions",
    "converted_lines",
    "has_own_gradient",
    "is_scratch_graph",
    "stack_trace",
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
