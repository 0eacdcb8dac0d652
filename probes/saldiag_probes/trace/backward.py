"""The traced graph walked back from the loss: once, for all probes that need its dependencies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property

from saldiag.core.keras_types import GraphOperation, Tensor
from saldiag_probes.trace.calls import Trace, TracedCall

NON_DIFFERENTIABLE_OPS = frozenset({
    "ApproximateEqual", "ArgMax", "ArgMin", "Bucketize", "Ceil", "Equal", "Floor", "Greater",
    "GreaterEqual", "Less", "LessEqual", "Multinomial", "NotEqual", "PyFunc", "PyFuncStateless",
    "Rint", "Round", "Sign", "StopGradient",
})  # fmt: skip
"""TensorFlow registers no gradient for these operations, or (``Sign``) a gradient of zeros."""

SHAPE_OPS = frozenset({"OnesLike", "Rank", "Shape", "ShapeN", "Size", "ZerosLike"})
"""Operations whose result does not depend on the values of their input."""


class LossDependencies:
    """The operations that a loss in the graph of a trace depends on.

    Operations are identified by name. Each walk through the graph is made when its result is first
    used.
    """

    def __init__(self, trace: Trace, loss: Tensor) -> None:
        self.trace, self.loss = trace, loss

    @cached_property
    def owner_by_operation(self) -> Mapping[str, TracedCall]:
        """By operation name the innermost layer call that created it; the loss has no entries."""
        pairs = zip(self.trace.operations(), self.trace.owners(), strict=True)
        return {op.name: owner for op, owner in pairs if owner is not None}

    @property
    def reached_by_gradient(self) -> set[str]:
        """Names of the operations that a gradient of the loss can reach."""
        return self._loss_gradient[0]

    @property
    def gradient_stops(self) -> Mapping[GraphOperation, str]:
        """The operations at which the gradient ends, with the path of the layer behind each."""
        return self._loss_gradient[1]

    def gradient_before(
        self, op: GraphOperation, behind: str
    ) -> tuple[set[str], dict[GraphOperation, str]]:
        """Reached operations and stops for a gradient that starts at an operation's inputs.

        They correspond to ``reached_by_gradient`` and ``gradient_stops``.

        Args:
            op: the operation.
            behind: path of the layer that comes after the operation in the forward pass.
        """
        owner = self.owner_by_operation.get(op.name)
        layer = owner.layer_path if owner is not None and owner.leaf else behind
        return _walk_gradient(op.inputs, self.owner_by_operation, layer)

    @cached_property
    def reached_from_outputs(self) -> set[str]:
        """Names of the operations that a gradient of the outputs can reach."""
        return _walk_gradient(self.trace.outputs, self.owner_by_operation)[0]

    @cached_property
    def used_by_loss(self) -> set[str]:
        """Names of all operations that the loss depends on, differentiable or not."""
        return ancestor_operations([self.loss])

    @cached_property
    def used_by_loss_or_outputs(self) -> set[str]:
        """Names of all operations that the loss or an output depends on."""
        return ancestor_operations(self.trace.outputs, self.used_by_loss)

    @cached_property
    def _loss_gradient(self) -> tuple[set[str], dict[GraphOperation, str]]:
        return _walk_gradient([self.loss], self.owner_by_operation)


def loss_dependencies(trace: Trace, loss: Tensor) -> LossDependencies | None:
    """The dependencies of ``loss``; None if it is no tensor in the graph of the trace."""
    return LossDependencies(trace, loss) if getattr(loss, "graph", None) is trace.graph else None


def ancestor_operations(
    tensors: Iterable[Tensor],
    visited: Iterable[str] = (),
    *,
    stop_types: frozenset[str] = frozenset(),
    excluded: GraphOperation | None = None,
) -> set[str]:
    """Names of all operations that tensors depend on, in any way.

    Args:
        tensors: symbolic tensors of one graph.
        visited: names of operations whose ancestors are known already; they are part of the result.
        stop_types: types of operations that are neither entered nor returned.
        excluded: one operation that is neither entered nor returned.
    """
    seen = set(visited)
    pending = [tensor.op for tensor in tensors]
    while pending:
        op = pending.pop()
        if op.name not in seen and op.type not in stop_types and op is not excluded:
            seen.add(op.name)
            pending += [tensor.op for tensor in op.inputs]
    return seen


def _walk_gradient(
    tensors: Iterable[Tensor], owners: Mapping[str, TracedCall], layer_behind: str = ""
) -> tuple[set[str], dict[GraphOperation, str]]:
    """Operations that a gradient can reach, and those where it ends with the layer behind each."""
    reached: set[str] = set()
    stops: dict[GraphOperation, str] = {}
    pending: list[tuple[Tensor, str]] = [(tensor, layer_behind) for tensor in tensors]
    while pending:
        tensor, behind = pending.pop()
        op = tensor.op
        if _stops_gradient(tensor):
            stops.setdefault(op, behind)
        elif op.name not in reached and op.type not in SHAPE_OPS:
            reached.add(op.name)
            owner = owners.get(op.name)
            # Behind an operation of a leaf layer the walk is inside that layer; operations between
            # layers keep the layer that was passed last.
            layer = owner.layer_path if owner is not None and owner.leaf else behind
            pending += [(source, layer) for source in op.inputs]
    return reached, stops


def _stops_gradient(tensor: Tensor) -> bool:
    """Whether no gradient passes from a tensor to the inputs of its operation."""
    op = tensor.op
    if op.type == "Cast":
        return bool(op.inputs[0].dtype.is_floating and not tensor.dtype.is_floating
                    and not tensor.dtype.is_complex)  # fmt: skip
    if op.type == "TopKV2":  # the values have a gradient, the indices have none
        return tensor is not op.outputs[0] and tensor.name == op.outputs[1].name
    return op.type in NON_DIFFERENTIABLE_OPS
