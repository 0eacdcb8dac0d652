"""Operations that no gradient passes, on the only way from the loss to trainable variables.

A gradient of the loss, walked back through everything that it is computed from, goes past no such
operation. Variables that it does not come to, and that stand behind one, can learn in no way.
Whatever the walk cannot tell (loops, functions, gradients of the user's own) it takes for
differentiable.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from saldiag.core.measurement import BlockedOperation
from saldiag_probes.backward import OF_SHAPE, Backward, made_of
from saldiag_probes.calls import Call, Trace
from saldiag_probes.names import variable_paths


def blocked_operations(model: Any, back: Backward) -> tuple[BlockedOperation, ...]:
    """The operations of the traced graph that cut trainable variables off from the loss."""
    variables = _placeholders(model, back.trace)
    starving = {name: layer for name, layer in variables.items() if name not in back.reached}
    found = []
    for op, behind in back.ends.items():
        before = made_of(op.inputs, past=OF_SHAPE)
        layers = [layer for name, layer in starving.items() if name in before]
        if layers:
            fed = [layer for name, layer in variables.items() if name in before & back.reached]
            found.append(_described(op, back.owners.get(op.name), behind, layers, fed))
    return tuple(found)


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


def _placeholders(model: Any, trace: Trace) -> dict[str, str]:
    """By the name of the graph's placeholder for a trainable variable the variable's layer."""
    inner = {id(outer): placeholder.op.name for outer, placeholder in trace.graph.captures}
    paths = variable_paths(model)
    return {
        inner[id(variable.value.handle)]: paths[id(variable)][0]
        for variable in model.trainable_variables
        if id(getattr(variable.value, "handle", None)) in inner
    }
