"""TensorFlow's variables behind those of Keras.

``ResourceVariable`` is the base of all that live on one device; ``tf.Variable`` also covers those
of a distribution strategy, which have no handle of their own.
"""

from __future__ import annotations

from typing import Any

from tensorflow.python.ops import resource_variable_ops
from tensorflow.python.ops.resource_variable_ops import BaseResourceVariable as ResourceVariable

__all__ = ["ResourceVariable", "plain_variable", "raw_variable", "replace_raw_variable"]


def plain_variable(value: Any, dtype: Any) -> Any:
    """A variable on one device, whatever strategy or variable creator is in force.

    ``tf.Variable`` would create one per replica inside of a strategy's scope, and call the creators
    that the program registered.
    """
    return resource_variable_ops.ResourceVariable(value, trainable=False, dtype=dtype)


def raw_variable(variable: Any) -> Any:
    """TensorFlow's variable behind a Keras variable; any other variable unchanged.

    The public ``value`` may be a cast copy under autocast, or a stateless scope's.
    """
    return getattr(variable, "_value", variable)


def replace_raw_variable(variable: Any, raw: Any) -> None:
    """Set the ``tf.Variable`` behind a Keras variable, which normally creates its own."""
    variable._value = raw
