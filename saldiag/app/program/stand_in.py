"""Stand-in batches: zeros in the shape of a model's symbolic inputs."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from saldiag.core.training.fit_plan import KERAS_BATCH

COMPUTED = "the step computes what it calls the model on"


def symbolic_inputs(model: Any) -> Any:
    """A model's inputs as it takes them; None where it was built without any."""
    inputs = getattr(model, "inputs", None)
    if not inputs:
        return None
    try:
        return model.input
    except AttributeError:  # a Sequential model that no other model calls
        return inputs[0] if len(inputs) == 1 else inputs


def stand_in(inputs: Any) -> tuple[Any, ...] | None:
    """A batch of zeros in the shape of a model's symbolic inputs; None where it is not known.

    A size that is not known is that of Keras' batches: a single sample has faults of its own.
    """
    flat = tf.nest.flatten(inputs)
    if not all(hasattr(t, "shape") and tf.TensorShape(t.shape).rank is not None for t in flat):
        return None
    sizes = [[KERAS_BATCH if n is None else n for n in t.shape] for t in flat]
    zeros = [tf.zeros(size, t.dtype) for size, t in zip(sizes, flat, strict=True)]
    return (tf.nest.pack_sequence_as(inputs, zeros),)
