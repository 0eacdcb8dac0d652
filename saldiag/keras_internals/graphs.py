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
    "has_own_gradient",
    "is_scratch_graph",
    "stack_trace",
]

NOT_INLINED = {"_noinline": True}
"""Attributes of a ``tf.function`` that stays a call in the graph; there is no public option."""


def call_branches_like_functions(conditional: Any) -> None:
    """Keep an ``If`` operation whole instead of spreading it out; no public option does it."""
    whole = attr_value_pb2.AttrValue(b=False)
    conditional._set_attr("_lower_using_switch_merge", whole)


def has_own_gradient(operation: Any) -> bool:
    """Whether ``tf.custom_gradient`` ends in this operation; nothing public marks it."""
    return operation.type == "IdentityN" and "_gradient_op_type" in operation.node_def.attr


def is_scratch_graph(graph: Any) -> bool:
    """Whether Keras only infers shapes in this graph; nothing public marks it."""
    return bool(graph.name.startswith(SCRATCH_GRAPH))


def stack_trace() -> Any:
    """The frames here, those of converted code at their original lines; Python has no map."""
    return tf_stack.extract_stack()
