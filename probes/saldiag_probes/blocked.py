"""Operations that no gradient passes, on the only way from the loss to trainable variables.

A walk over the graph, from the loss back through everything that it is computed from. It goes past
no operation that has no gradient. Variables that it does not come to, and that stand behind such an
operation, can learn in no way. Whatever the walk cannot tell (loops, functions, gradients of the
user's own) it takes for differentiable.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from saldiag.core.measurement import BlockedOperation
from saldiag_probes.calls import Call, Trace
from saldiag_probes.names import variable_paths

WITHOUT_GRADIENT = frozenset({
    "ApproximateEqual", "ArgMax", "ArgMin", "Bucketize", "Ceil", "Equal", "Floor", "Greater",
    "GreaterEqual", "Less", "LessEqual", "Multinomial", "NotEqual", "PyFunc", "PyFuncStateless",
    "Rint", "Round", "Sign", "StopGradient",
})  # fmt: skip
"""TensorFlow registers no gradient for them, or (Sign) one of zeros."""

OF_SHAPE = frozenset({"OnesLike", "Rank", "Shape", "ShapeN", "Size", "ZerosLike"})
"""Operations whose result does not depend on the numbers that they get."""


def blocked_operations(model: Any, trace: Trace, loss: Any) -> tuple[BlockedOperation, ...]:
    """The operations of the traced graph that cut trainable variables off from ``loss``."""
    if getattr(loss, "graph", None) is not trace.graph:
        return ()
    owners = _owners(trace)
    reached, ends = _walk(loss, owners)
    variables = _placeholders(model, trace)
    starving = {name: layer for name, layer in variables.items() if name not in reached}
    found = []
    for op, behind in ends.items():
        before = _walk_all(op.inputs)
        layers = [layer for name, layer in starving.items() if name in before]
        if layers:
            fed = [layer for name, layer in variables.items() if name in before & reached]
            found.append(_described(op, owners.get(op.name), behind, layers, fed))
    return tuple(found)


def reached_from(loss: Any, trace: Trace) -> set[str] | None:
    """The operations that a gradient of ``loss`` can come to; None if it is not in the graph."""
    return _walk(loss, {})[0] if getattr(loss, "graph", None) is trace.graph else None


def _described(
    op: Any, owner: Call | None, behind: str, layers: Iterable[str], fed: Iterable[str]
) -> BlockedOperation:
    return BlockedOperation(
        op="cast to integers" if op.type == "Cast" else op.type,
        layer=owner.layer_path if owner is not None else "",
        behind=behind,
        before=tuple(dict.fromkeys(layers)),
        fed=tuple(dict.fromkeys(fed)),
    )


def _owners(trace: Trace) -> dict[str, Call]:
    """By operation the innermost layer call that created it; not those of the loss."""
    owners = zip(trace.operations(), trace.owners(), strict=True)
    return {op.name: owner for op, owner in owners if owner is not None}


def _placeholders(model: Any, trace: Trace) -> dict[str, str]:
    """By the name of the graph's placeholder for a trainable variable the variable's layer."""
    inner = {id(outer): placeholder.op.name for outer, placeholder in trace.graph.captures}
    paths = variable_paths(model)
    return {
        inner[id(variable.value.handle)]: paths[id(variable)][0]
        for variable in model.trainable_variables
        if id(getattr(variable.value, "handle", None)) in inner
    }


def _walk(loss: Any, owners: Mapping[str, Call]) -> tuple[set[str], dict[Any, str]]:
    """Operations that a gradient can come to; those where it ends, with the layer behind each."""
    reached: set[str] = set()
    ends: dict[Any, str] = {}
    pending: list[tuple[Any, str]] = [(loss, "")]
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


def _walk_all(tensors: Iterable[Any]) -> set[str]:
    """The operations that tensors are computed from in any way."""
    reached: set[str] = set()
    pending = list(tensors)
    while pending:
        op = pending.pop().op
        if op.name not in reached and op.type not in OF_SHAPE:
            reached.add(op.name)
            pending += op.inputs
    return reached


def _ends_at(tensor: Any) -> bool:
    op = tensor.op
    if op.type == "Cast":
        return bool(op.inputs[0].dtype.is_floating and not tensor.dtype.is_floating
                    and not tensor.dtype.is_complex)  # fmt: skip
    if op.type == "TopKV2":
        return tensor is not op.outputs[0] and tensor.name == op.outputs[1].name
    return op.type in WITHOUT_GRADIENT
