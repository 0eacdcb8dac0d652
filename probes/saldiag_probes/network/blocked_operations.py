"""Operations that no gradient passes, on the only way from the loss to trainable variables.

A gradient of the loss, walked back through everything that it is computed from, goes past no such
operation. Variables that it does not come to, and that stand behind one, can learn in no way.
Whatever the walk cannot tell (loops, functions, gradients of the user's own) it takes for
differentiable.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from typing import Any

from saldiag.core.measurement import BlockedOperation
from saldiag_probes.trace.backward import OF_SHAPE, Backward, made_of
from saldiag_probes.trace.paths import variable_paths
from saldiag_probes.trace.recorder import Call, Trace


def blocked_operations(model: Any, back: Backward) -> tuple[BlockedOperation, ...]:
    """The operations of the traced graph that cut trainable variables off from the loss."""
    variables = _placeholders(model, back.trace)
    starving = {name: layer for name, layer in variables.items() if name not in back.reached}
    if not starving:
        return ()
    found = []
    for op, (behind, cut) in _cut_off(back, starving.keys()).items():
        layers = [layer for name, layer in starving.items() if name in cut]
        before = made_of(op.inputs, past=OF_SHAPE) & back.reached
        fed = [layer for name, layer in variables.items() if name in before]
        if layers:
            found.append(_described(op, back.owners.get(op.name), behind, layers, fed))
    return tuple(found)


def _cut_off(back: Backward, starving: Set[str]) -> dict[Any, tuple[str, Set[str]]]:
    """By operation without a gradient the layer behind it, and those that starve right before it.

    Right before: where no gradient comes to them from one such operation, it is from the next one.
    What stands before a ``stop_gradient`` is its own, for it was put there to end all that.
    """
    found: dict[Any, tuple[str, Set[str]]] = {}
    waiting, told = dict(back.ends), set[str]()
    while waiting:
        further: dict[Any, str] = {}
        for op, behind in waiting.items():
            reached, ends = back.before(op, behind)
            if op.type == "StopGradient":
                reached, ends = made_of(op.inputs, past=OF_SHAPE), {}
            found[op] = behind, (starving & reached) - told
            further |= ends
        told = told.union(*(cut for _, cut in found.values()))
        waiting = {op: behind for op, behind in further.items() if op not in found}
    return found


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
