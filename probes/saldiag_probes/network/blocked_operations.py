"""Operations without a gradient on the only path from the loss to trainable variables.

A gradient of the loss, followed back through everything the loss depends on, ends at such an
operation. Variables that it does not reach, and that feed such an operation, cannot learn. Whatever
the walk cannot look into (loops, functions, custom gradients) counts as differentiable.
"""

from __future__ import annotations

from collections.abc import Iterable, Set

from saldiag.core.keras_types import GraphOperation, KerasModel
from saldiag.core.measurement import BlockedOperation
from saldiag_probes.trace.backward import SHAPE_OPS, LossDependencies, ancestor_operations
from saldiag_probes.trace.calls import Trace, TracedCall
from saldiag_probes.trace.paths import variable_paths


def blocked_operations(
    model: KerasModel, dependencies: LossDependencies
) -> tuple[BlockedOperation, ...]:
    """The operations of the traced graph that cut trainable variables off from the loss.

    Args:
        model: the traced model.
        dependencies: of its loss.
    """
    variables = _layer_by_placeholder(model, dependencies.trace)
    unreached = {
        name: layer
        for name, layer in variables.items()
        if name not in dependencies.reached_by_gradient
    }
    if not unreached:
        return ()
    found = []
    for op, (behind, cut) in _cut_off_by_operation(dependencies, unreached.keys()).items():
        layers = [layer for name, layer in unreached.items() if name in cut]
        before = (
            ancestor_operations(op.inputs, stop_types=SHAPE_OPS) & dependencies.reached_by_gradient
        )
        fed = [layer for name, layer in variables.items() if name in before]
        if layers:
            found.append(
                _describe_operation(
                    op, dependencies.owner_by_operation.get(op.name), behind, layers, fed
                )
            )
    return tuple(found)


def _cut_off_by_operation(
    dependencies: LossDependencies, unreached: Set[str]
) -> dict[GraphOperation, tuple[str, Set[str]]]:
    """Per operation without gradient the layer behind it, and the variables that it cuts off first.

    A variable is assigned to the operation nearest to the loss whose inputs' gradient would reach
    it. A ``stop_gradient`` cuts off everything upstream of it, because it was placed there on
    purpose.
    """
    found: dict[GraphOperation, tuple[str, Set[str]]] = {}
    # Breadth first, from the loss: each variable is assigned to the nearest operation behind it.
    pending, assigned = dict(dependencies.gradient_stops), set[str]()
    while pending:
        upstream: dict[GraphOperation, str] = {}
        for op, behind in pending.items():
            reached, stops = dependencies.gradient_before(op, behind)
            if op.type == "StopGradient":
                reached, stops = ancestor_operations(op.inputs, stop_types=SHAPE_OPS), {}
            found[op] = behind, (unreached & reached) - assigned
            upstream |= stops
        assigned = assigned.union(*(cut for _, cut in found.values()))
        pending = {op: behind for op, behind in upstream.items() if op not in found}
    return found


def _describe_operation(
    op: GraphOperation,
    owner: TracedCall | None,
    behind: str,
    layers: Iterable[str],
    fed: Iterable[str],
) -> BlockedOperation:
    return BlockedOperation(
        op="cast to integers" if op.type == "Cast" else op.type,
        layer=owner.layer_path if owner is not None else "",
        behind=behind,
        before=tuple(dict.fromkeys(layers)),
        fed=tuple(dict.fromkeys(fed)),
    )


def _layer_by_placeholder(model: KerasModel, trace: Trace) -> dict[str, str]:
    """By name of the graph's placeholder for a trainable variable the variable's layer."""
    placeholder_names = {
        id(outer): placeholder.op.name for outer, placeholder in trace.graph.captures
    }
    paths = variable_paths(model)
    return {
        placeholder_names[id(variable.value.handle)]: paths[id(variable)][0]
        for variable in model.trainable_variables
        if id(getattr(variable.value, "handle", None)) in placeholder_names
    }
