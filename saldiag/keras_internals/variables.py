"""TensorFlow's variables and other resources, also those behind Keras' variables.

``TableBase`` is the base of all resources that are no variables, hash tables among them.
``ResourceVariable`` is the base of all that live on one device; ``tf.Variable`` also covers those
of a distribution strategy, which have no handle of their own.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow.python.framework.ops import EagerTensor
from tensorflow.python.ops import resource_variable_ops
from tensorflow.python.ops.resource_variable_ops import BaseResourceVariable as ResourceVariable
from tensorflow.python.trackable.resource import CapturableResource as TableBase

__all__ = [
    "EagerTensor",
    "ResourceVariable",
    "TableBase",
    "plain_variable",
    "raw_variable",
    "replace_raw_variable",
    "variable_dtype",
]


def variable_dtype(handle: Any) -> Any:
    """The dtype of the variable behind an eager handle, or None if it is another resource.

    A function knows the variables that it captured by their handles alone.
    """
    data = getattr(handle, "_handle_data", None)
    if data is None or not data.is_set or not data.shape_and_type:
        return None
    return tf.dtypes.as_dtype(data.shape_and_type[0].dtype)


def plain_variable(value: Any, dtype: Any, shape: Any = None) -> Any:
    """A variable on one device, whatever strategy or variable creator is in force.

    ``tf.Variable`` would create one per replica inside of a strategy's scope, and call the creators
    that the program registered.
    """
    return resource_variable_ops.ResourceVariable(value, trainable=False, dtype=dtype, shape=shape)


def raw_variable(variable: Any) -> Any:
    """TensorFlow's variable behind a Keras variable; any other variable unchanged.

    The public ``value`` may be a cast copy under autocast, or a stateless scope's.
    """
    return getattr(variable, "_value", variable)


def replace_raw_variable(variable: Any, raw: Any) -> None:
    """Set the ``tf.Variable`` behind a Keras variable, which normally creates its own."""
    variable._value = raw
