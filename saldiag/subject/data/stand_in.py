"""Stand-in batches: zeros in the shape of a model's symbolic inputs."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from saldiag.core.training.fit_plan import KERAS_BATCH

COMPUTED_INPUTS = "the training step computes the model's inputs itself"
"""Why the data is unknown if the inputs of the model's call are no arguments of the step."""


def symbolic_inputs(model: Any) -> Any:
    """A model's symbolic inputs in the structure that it is called with; None if it has none."""
    inputs = getattr(model, "inputs", None)
    if not inputs:
        return None
    try:
        return model.input
    except AttributeError:  # Keras: a Sequential model has no ``input`` before it is called
        return inputs[0] if len(inputs) == 1 else inputs


def zero_batch(inputs: Any) -> tuple[Any, ...] | None:
    """A batch of zeros in the shape of a model's symbolic inputs; None if the rank is unknown.

    An unknown size becomes Keras' default batch size: a batch of one sample has problems of
    its own, such as in BatchNorm.
    """
    flat = tf.nest.flatten(inputs)
    if not all(hasattr(t, "shape") and tf.TensorShape(t.shape).rank is not None for t in flat):
        return None
    sizes = [[KERAS_BATCH if n is None else n for n in t.shape] for t in flat]
    zeros = [tf.zeros(size, t.dtype) for size, t in zip(sizes, flat, strict=True)]
    return (tf.nest.pack_sequence_as(inputs, zeros),)
