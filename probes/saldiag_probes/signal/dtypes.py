"""Real dtypes of a forward pass, and every place where the precision changes, by tracing alone.

A cast is a ``Cast`` operation from one float type to another in the traced graph: the cast that
autocast puts before a layer's ``call`` or on its weights, and any that the code asks for. It is
attributed to the layer call that it happens in (Keras casts a layer's inputs inside its
``__call__``); the cast of a weight to the weight's path; one outside of any layer to ``""``. What
the graph optimizer removes later, and casts inside a loop's body, are not known.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from saldiag.core.measurement import Cast, DtypeRow, DtypeTrace
from saldiag_probes.signal.underflowed_constants import lost_constants
from saldiag_probes.trace import layer_facts
from saldiag_probes.trace.paths import variable_paths
from saldiag_probes.trace.recorder import Call, Trace


def describe(model: Any, trace: Trace, loss: Any = None) -> DtypeTrace:
    """The dtypes of a traced model; ``loss`` is the loss tensor, if there is one."""
    return DtypeTrace(
        policy=str(model.dtype_policy.name),
        rows=tuple(_row(call) for call in trace.calls),
        casts=tuple(_casts(model, trace)),
        output_dtypes=tuple(tensor.dtype.name for tensor in trace.outputs),
        loss_dtype=loss.dtype.name if loss is not None else None,
        batch_size=trace.batch_size,
        lost_constants=lost_constants(trace),
    )


def _row(call: Call) -> DtypeRow:
    layer = call.layer
    outputs = tuple(tensor.dtype.name for tensor in call.outputs)
    return DtypeRow(
        path=call.path,
        layer=call.layer_path,
        kind=call.kind,
        depth=call.depth,
        leaf=call.leaf,
        compute=str(layer.compute_dtype) if layer is not None else ", ".join(outputs),
        variable=str(layer.variable_dtype) if layer is not None else "",
        inputs=tuple(tensor.dtype.name for tensor in call.inputs),
        outputs=outputs,
        parameters=layer_facts.parameters(layer) if layer is not None else 0,
    )


def _casts(model: Any, trace: Trace) -> Iterable[Cast]:
    owners = trace.owners()
    weights = _weights_by_read(model, trace)
    for index, op in enumerate(trace.operations()):
        if op.type != "Cast":
            continue
        before, after = op.inputs[0], op.outputs[0]
        if not (before.dtype.is_floating and after.dtype.is_floating):
            continue
        owner = owners[index]
        path = weights.get(before.name) or (owner.path if owner is not None else "")
        elements = _elements(after, trace.batch_size)
        yield Cast(path, before.dtype.name, after.dtype.name, elements, elements * after.dtype.size)


def _weights_by_read(model: Any, trace: Trace) -> dict[str, str]:
    """Path of the variable that each reading operation's output tensor is the value of."""
    paths = variable_paths(model)
    handles = {id(v.value.handle): paths[id(v)][1] for v in model.variables if id(v) in paths}
    inside = {i.name: handles.get(id(outside)) for outside, i in trace.graph.captures}
    reads = (op for op in trace.operations() if op.type == "ReadVariableOp")
    found = {op.outputs[0].name: inside.get(op.inputs[0].name) for op in reads}
    return {name: path for name, path in found.items() if path is not None}


def _elements(tensor: Any, batch_size: int) -> int:
    """Number of elements for one batch; an unknown axis counts as the batch."""
    total = 1
    for size in tensor.shape.as_list() if tensor.shape.rank is not None else []:
        total *= batch_size if size is None else size
    return total
