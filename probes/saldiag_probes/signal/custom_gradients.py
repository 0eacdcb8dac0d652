"""Tensors inside functions with a custom gradient, through which TensorFlow passes no gradient."""

from __future__ import annotations

from saldiag.core.keras_types import (
    GraphOperation,
)
from saldiag.keras_internals.graphs import has_own_gradient
from saldiag_probes.trace.calls import Trace


def hidden_tensors(trace: Trace) -> set[str]:
    """Names of the tensors inside functions that define a custom gradient.

    ``tf.custom_gradient`` ends in an ``IdentityN`` of its results and arguments, whose gradient
    goes straight to the arguments. TensorFlow passes nothing through the tensors in between,
    although they do have a gradient in the mathematical sense.
    """
    hidden: set[str] = set()
    for op in trace.operations():
        if has_own_gradient(op):
            hidden |= _tensors_between(op)
    return hidden


def _tensors_between(op: GraphOperation) -> set[str]:
    """Names of the tensors that a custom gradient's results depend on, down to its arguments."""
    stops = {tensor.name for tensor in op.inputs}
    # The identities of the arguments have no consumers; the first output is always a result.
    used = [i == 0 or bool(out.consumers()) for i, out in enumerate(op.outputs)]
    pending = [tensor for tensor, is_used in zip(op.inputs, used, strict=True) if is_used]
    found = {tensor.name for tensor in pending}
    while pending:
        for tensor in pending.pop().op.inputs:
            if tensor.name not in found and tensor.name not in stops:
                found.add(tensor.name)
                pending.append(tensor)
    return found
