"""The traced graph walked back from the loss: once, for all probes that ask what it is made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

from saldiag_probes.trace.recorder import Call, Trace

WITHOUT_GRADIENT = frozenset({
    "ApproximateEqual", "ArgMax", "ArgMin", "Bucketize", "Ceil", "Equal", "Floor", "Greater",
    "GreaterEqual", "Less", "LessEqual", "Multinomial", "NotEqual", "PyFunc", "PyFuncStateless",
    "Rint", "Round", "Sign", "StopGradient",
})  # fmt: skip
"""TensorFlow registers no gradient for them, or (Sign) one of zeros."""

OF_SHAPE = frozenset({"OnesLike", "Rank", "Shape", "ShapeN", "Size", "ZerosLike"})
"""Operations whose result does not depend on the numbers that they get."""


class Backward:
    """What a loss in the graph of a trace is made of; each walk is taken when first asked for.

    Operations are told by their names.
    """

    def __init__(self, trace: Trace, loss: Any) -> None:
        self.trace, self.loss = trace, loss

    @cached_property
    def owners(self) -> Mapping[str, Call]:
        """By operation the innermost layer call that created it; not those of the loss."""
        owners = zip(self.trace.operations(), self.trace.owners(), strict=True)
        return {op.name: owner for op, owner in owners if owner is not None}

    @property
    def reached(self) -> set[str]:
        """The operations that a gradient of the loss can come to."""
        return self._gradient[0]

    @property
    def ends(self) -> Mapping[Any, str]:
        """The operations where the gradient ends, with the path of the layer behind each."""
        return self._gradient[1]

    def before(self, op: Any, behind: str) -> tuple[set[str], dict[Any, str]]:
        """``reached`` and ``ends`` of a gradient of what goes into an operation.

        ``behind`` is the layer behind the operation.
        """
        owner = self.owners.get(op.name)
        layer = owner.layer_path if owner is not None and owner.leaf else behind
        return _gradient_of(op.inputs, self.owners, layer)

    @cached_property
    def shown(self) -> set[str]:
        """The operations that a gradient of the outputs can come to."""
        return _gradient_of(self.trace.outputs, self.owners)[0]

    @cached_property
    def needed(self) -> set[str]:
        """All operations that the loss is made of, whether a gradient passes or not."""
        return made_of([self.loss])

    @cached_property
    def needed_or_shown(self) -> set[str]:
        """All operations that the loss or an output is made of."""
        return made_of(self.trace.outputs, self.needed)

    @cached_property
    def _gradient(self) -> tuple[set[str], dict[Any, str]]:
        return _gradient_of([self.loss], self.owners)


def backward(trace: Trace, loss: Any) -> Backward | None:
    """The walks from ``loss``; None if it is not in the graph of the trace."""
    return Backward(trace, loss) if getattr(loss, "graph", None) is trace.graph else None


def made_of(
    tensors: Iterable[Any],
    known: Iterable[str] = (),
    *,
    past: frozenset[str] = frozenset(),
    but: Any = None,
) -> set[str]:
    """The operations that tensors are made of in any way.

    Args:
        tensors: symbolic tensors of one graph.
        known: operations that were come to before, with all that they are made of.
        past: types of operations that are not entered.
        but: an operation that is not entered.
    """
    seen = set(known)
    waiting = [tensor.op for tensor in tensors]
    while waiting:
        op = waiting.pop()
        if op.name not in seen and op.type not in past and op is not but:
            seen.add(op.name)
            waiting += [tensor.op for tensor in op.inputs]
    return seen


def _gradient_of(
    tensors: Iterable[Any], owners: Mapping[str, Call], last: str = ""
) -> tuple[set[str], dict[Any, str]]:
    """Operations that a gradient can come to; those where it ends, with the layer behind each."""
    reached: set[str] = set()
    ends: dict[Any, str] = {}
    pending: list[tuple[Any, str]] = [(tensor, last) for tensor in tensors]
    while pending:
        tensor, behind = pending.pop()
        op = tensor.op
        if _ends_at(tensor):
            ends.setdefault(op, behind)
        elif op.name not in reached and op.type not in OF_SHAPE:
            reached.add(op.name)
            owner = owners.get(op.name)
            layer = owner.layer_path if owner is not None and owner.leaf else behind
            pending += [(source, layer) for source in op.inputs]
    return reached, ends


def _ends_at(tensor: Any) -> bool:
    op = tensor.op
    if op.type == "Cast":
        return bool(op.inputs[0].dtype.is_floating and not tensor.dtype.is_floating
                    and not tensor.dtype.is_complex)  # fmt: skip
    if op.type == "TopKV2":
        return tensor is not op.outputs[0] and tensor.name == op.outputs[1].name
    return op.type in WITHOUT_GRADIENT
