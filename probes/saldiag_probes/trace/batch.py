"""A batch as ``fit`` sees it, and building a model for it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from saldiag.core.keras_types import BatchLike, KerasModel, TensorTree
from saldiag.keras_internals.compilation import compiled_loss, loss_method
from saldiag.keras_internals.layers import flattened_layers, output_spec
from saldiag_probes.trace.errors import CannotMeasure, error_summary


@dataclass(frozen=True)
class Batch:
    """One batch as ``fit`` would see it."""

    x: TensorTree
    """The model's input: tensors (or ``tf.TensorSpec``), nested as the model takes them."""
    y: TensorTree = None
    """The targets, nested like the outputs; None if there are none."""
    sample_weight: TensorTree = None
    """The sample weights; None if there are none."""

    @property
    def size(self) -> int:
        """Number of samples, from the first input's first axis; 1 if it is unknown."""
        shapes = [t.shape for t in keras.tree.flatten(self.x) if t is not None]
        first = shapes[0] if shapes else None
        return int(first[0]) if first is not None and first.rank and first[0] else 1


def as_batch(data: BatchLike) -> Batch:
    """Convert ``x``, ``(x,)``, ``(x, y)`` or ``(x, y, sample_weight)`` as Keras' data adapters do.

    Float arrays become tensors of ``keras.config.floatx()``. A ``keras.KerasTensor`` becomes a
    ``tf.TensorSpec``, with a batch size of 1 if it has none.
    """
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    x, y, sample_weight = keras.tree.map_structure(_as_tensor, (x, y, sample_weight))
    return Batch(x, y, sample_weight)


def _as_tensor(leaf: Any) -> Any:
    if leaf is None or tf.is_tensor(leaf) or isinstance(leaf, tf.TensorSpec):
        return leaf
    if isinstance(leaf, keras.KerasTensor):
        return tf.TensorSpec([leaf.shape[0] or 1, *leaf.shape[1:]], leaf.dtype)
    array = np.asarray(leaf)
    return tf.convert_to_tensor(
        array.astype(keras.config.floatx()) if array.dtype.kind == "f" else array
    )


def build_model(model: KerasModel, batch: Batch) -> None:
    """Create the variables of a model (and its loss) that has none yet, as ``fit`` does at first.

    Raises:
        CannotMeasure: the model cannot be called on such a batch.
    """
    layers = [model, *flattened_layers(model)]
    loss = compiled_loss(model)
    # With several outputs Keras creates one metric per output when the loss is built. A trace must
    # not create variables, so build the loss here.
    several_targets = len(keras.tree.flatten(batch.y)) > 1
    loss_unbuilt = loss is not None and not loss.built and several_targets
    if all(layer.built for layer in layers) and not loss_unbuilt:
        return
    x, y, weight = keras.tree.map_structure(_as_spec, (batch.x, batch.y, batch.sample_weight))
    try:
        y_pred = output_spec(model, x, training=False)
    except Exception as error:
        raise CannotMeasure(
            f"the model cannot be called on this batch: {error_summary(error)}"
        ) from error
    if loss_unbuilt:
        with suppress(Exception):  # the trace reports what is wrong
            output_spec(loss_method(model), x, y, y_pred, weight, training=False)


def _as_spec(leaf: Any) -> Any:
    if leaf is None or isinstance(leaf, tf.RaggedTensor):
        return leaf
    return keras.KerasTensor(
        leaf.shape, leaf.dtype.name, sparse=isinstance(leaf, (tf.SparseTensor, tf.SparseTensorSpec))
    )
