"""The recorded forward pass: its layer calls and their symbolic tensors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import keras
import tensorflow as tf

from saldiag.core.keras_types import GraphOperation, KerasLayer, Tensor, TensorTree
from saldiag.keras_internals.graphs import copy_notes


@dataclass(eq=False)
class TracedCall:
    """One call of a layer in the traced graph or, if ``layer`` is None, one raw operation."""

    path: str
    """The layer's path; from the second call on with ``#2``, ``#3``, …."""
    layer_path: str
    """The layer's path in the model, ``PARENT/op:TYPE`` for a raw operation."""
    layer: KerasLayer | None
    """The Keras layer; None for a raw operation."""
    kind: str
    """Class name of the layer; ``op`` for a raw operation."""
    depth: int
    """Number of layers around it, itself included: 1 for a layer that the model calls."""
    parent: TracedCall | None
    """The call around it; None at depth 1."""
    first_op: int
    """Index of the first graph operation that the call created."""
    inputs: list[Tensor] = field(default_factory=list)
    """The input tensors as the layer saw them, each float one an identity of this call."""
    upstream: list[Tensor] = field(default_factory=list)
    """The same tensors before they were wrapped in identities, in the same order."""
    made_by: list[str | None] = field(default_factory=list)
    """For each input the path of the leaf call that returned it; None if no leaf call had by
    then."""
    outputs: list[Tensor] = field(default_factory=list)
    """The tensors that the call returned."""
    batched: bool = True
    """Whether all outputs are dense tensors, whose first axis is the batch."""
    last_op: int = 0
    """Index behind the last graph operation that the call created (half-open range)."""
    children: int = 0
    """Number of recorded calls directly inside this one."""
    op: GraphOperation | None = None
    """The TensorFlow operation, if ``layer`` is None."""
    skipped: str | None = None
    """Why the call's tensors are out of reach, in one line; None if they are not."""

    @property
    def leaf(self) -> bool:
        """Whether the call contains no other call through which the dataflow can be followed."""
        return self.children == 0 and self.skipped is None


@dataclass(eq=False)
class Trace:
    """The forward pass of a model in a TensorFlow graph."""

    graph: Any
    """The graph that the pass was traced into."""
    calls: list[TracedCall]
    """The calls in the order in which they began: a layer comes before the layers inside it."""
    inputs: list[Tensor]
    """The tensors of the model's input."""
    y_pred: TensorTree
    """What the model returned, nested as it returned it."""
    forward_ops: int
    """Number of operations in the graph when the forward pass ended."""
    batch_size: int
    """Number of samples in the batch."""
    function: Any = None
    """The concrete function that keeps the graph alive; None if the caller keeps it alive."""
    added_losses: tuple[Tensor, ...] = ()
    """The tensors that layers passed to ``add_loss``."""
    zero_constants: frozenset[str] = frozenset()
    """Names of the constants that were 0 in Python already, before any rounding to a small
    dtype."""

    @property
    def outputs(self) -> list[Tensor]:
        """The tensors of ``y_pred``."""
        return flat_tensors(self.y_pred)

    def operations(self) -> list[GraphOperation]:
        """The operations of the forward pass, in the order of their creation."""
        return list(self.graph.get_operations()[: self.forward_ops])

    def owners(self) -> list[TracedCall | None]:
        """For each operation the innermost layer call that created it; None outside of layers."""
        owners: list[TracedCall | None] = [None] * self.forward_ops
        for call in self.calls:  # outer calls come before inner ones
            if call.skipped is None and call.layer is not None:
                owners[call.first_op : call.last_op] = [call] * (call.last_op - call.first_op)
        return owners


def flat_tensors(structure: TensorTree) -> list[Tensor]:
    """The symbolic tensors in a nested structure; of ragged and sparse tensors their values."""
    tensors = [_dense_values(leaf) for leaf in keras.tree.flatten(structure)]
    return [t for t in tensors if isinstance(t, tf.Tensor) and tf.is_symbolic_tensor(t)]


def _dense_values(leaf: Any) -> Any:
    if isinstance(leaf, tf.RaggedTensor):
        return leaf.flat_values
    if isinstance(leaf, tf.SparseTensor):
        return leaf.values
    return leaf


def identity_with_keras_attributes(leaf: Any) -> Any:
    """An identity of a float tensor that carries the attributes Keras left on the original.

    The attributes are masks and logits (``_keras_mask``, ``_keras_logits``). Ragged and sparse
    tensors get an identity of their values; anything that is no float tensor is returned unchanged.
    """
    if isinstance(leaf, tf.RaggedTensor):
        return leaf.with_flat_values(identity_with_keras_attributes(leaf.flat_values))
    if isinstance(leaf, tf.SparseTensor):
        return tf.SparseTensor(
            leaf.indices, identity_with_keras_attributes(leaf.values), leaf.dense_shape
        )
    if not (isinstance(leaf, tf.Tensor) and leaf.dtype.is_floating):
        return leaf
    copy = tf.identity(leaf)
    copy_notes(leaf, copy)
    return copy
