"""Actual dtypes of a forward pass, and every change of precision, from the trace alone.

A cast is a ``Cast`` operation from one float type to another in the traced graph: the cast that
autocast inserts before a layer's ``call`` or on its weights, and any cast in the code. It is
attributed to the layer call that contains it (Keras casts a layer's inputs inside its
``__call__``), the cast of a weight to the weight's path, and one outside of any layer to ``""``.
Casts that the graph optimizer removes later, and casts inside a loop's body, are unknown.
"""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.keras_types import KerasModel, Tensor
from saldiag.core.measurement import Cast, DtypeRow, DtypeTrace
from saldiag_probes.signal.underflowed_constants import lost_constants
from saldiag_probes.trace import layer_facts
from saldiag_probes.trace.calls import Trace, TracedCall
from saldiag_probes.trace.paths import variable_paths


def describe_dtypes(model: KerasModel, trace: Trace, loss: Tensor | None = None) -> DtypeTrace:
    """The dtypes of a traced model.

    Args:
        model: the traced model.
        trace: its forward pass.
        loss: the loss tensor; None if there is none.
    """
    return DtypeTrace(
        policy=str(model.dtype_policy.name),
        rows=tuple(_dtype_row(call) for call in trace.calls),
        casts=tuple(_float_casts(model, trace)),
        output_dtypes=tuple(tensor.dtype.name for tensor in trace.outputs),
        loss_dtype=loss.dtype.name if loss is not None else None,
        batch_size=trace.batch_size,
        lost_constants=lost_constants(trace),
    )


def _dtype_row(call: TracedCall) -> DtypeRow:
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
        parameters=layer_facts.count_parameters(layer) if layer is not None else 0,
    )


def _float_casts(model: KerasModel, trace: Trace) -> Iterable[Cast]:
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
        elements = _count_elements(after, trace.batch_size)
        yield Cast(path, before.dtype.name, after.dtype.name, elements, elements * after.dtype.size)


def _weights_by_read(model: KerasModel, trace: Trace) -> dict[str, str]:
    """Path of the variable by the name of the tensor that holds its value when it is read."""
    paths = variable_paths(model)
    handles = {id(v.value.handle): paths[id(v)][1] for v in model.variables if id(v) in paths}
    inside = {i.name: handles.get(id(outside)) for outside, i in trace.graph.captures}
    reads = (op for op in trace.operations() if op.type == "ReadVariableOp")
    found = {op.outputs[0].name: inside.get(op.inputs[0].name) for op in reads}
    return {name: path for name, path in found.items() if path is not None}


def _count_elements(tensor: Tensor, batch_size: int) -> int:
    """Number of elements for one batch; an unknown axis counts as the batch."""
    total = 1
    for size in tensor.shape.as_list() if tensor.shape.rank is not None else []:
        total *= batch_size if size is None else size
    return total
