"""Overflow of 8- and 16-bit integers (in uint8, 100 - 128 is 228), and total loss of the fraction.

The second case: 100 // 255 is 0, and so is 0.4 cast to an integer. Each such operation on data from
the input is computed a second time in a type that holds the result, in the same pass over the same
batch, and the two results are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from saldiag.core.keras_types import GraphOperation, Tensor
from saldiag.core.measurement import Array, WrappedIntegers
from saldiag_probes.trace.backward import SHAPE_OPS, ancestor_operations
from saldiag_probes.trace.calls import Trace, TracedCall
from saldiag_probes.trace.dataflow import Dataflow

NARROW_INTEGERS = frozenset({"int8", "int16", "uint8", "uint16"})
"""Dtypes whose overflow is checked."""
WIDE_OPERATIONS: dict[str, Callable[..., Any]] = {
    "Add": tf.add,
    "AddV2": tf.add,
    "Mul": tf.multiply,
    "Neg": tf.negative,
    "Square": tf.square,
    "Sub": tf.subtract,
}
"""How to recompute an operation on inputs cast to int64."""
INTEGER_DIVISIONS = frozenset({"Div", "FloorDiv", "TruncateDiv"})
"""Divisions that cut off the fraction; ``Div`` does so for integers."""
MIN_RESULTS = 8
"""Number of results from which on it is significant that they are all equal."""


@dataclass(eq=False)
class OverflowPlan:
    """The comparisons to fetch from the graph."""

    checks: Sequence[tuple[GraphOperation, TracedCall | None, bool]]
    """Per comparison the operation, the layer call that contains it (None outside of layers), and
    whether it checks for the loss of all variation rather than for overflow."""
    fetch: Any
    """Per comparison, (N) float32: the share of results that overflow; for the loss of all
    variation 1 if all results are equal and the inputs are not."""


def plan_overflow_checks(trace: Trace) -> OverflowPlan:
    """Add the comparisons to the graph of the trace."""
    flow, owners = Dataflow(trace), trace.owners()
    checks = [
        (op, owners[index], loses_variation)
        for index, op in enumerate(trace.operations())
        for loses_variation, is_affected in ((False, _can_wrap), (True, _drops_fraction))
        if is_affected(op) and any(flow.sources_of(tensor) for tensor in op.inputs)
    ]
    shares = [
        _loses_all_variation(op) if loses_variation else _wrapped_share(op)
        for op, _, loses_variation in checks
    ]
    return OverflowPlan(checks, tf.stack(shares) if shares else tf.zeros([0]))


def _can_wrap(op: GraphOperation) -> bool:
    """Whether an operation computes narrow integers that can overflow."""
    if not op.outputs or op.outputs[0].dtype.name not in NARROW_INTEGERS:
        return False
    return op.type in WIDE_OPERATIONS or (op.type == "Cast" and op.inputs[0].dtype.is_floating)


def _drops_fraction(op: GraphOperation) -> bool:
    """Whether the operation turns its first input into whole numbers."""
    if not op.outputs or not (op.type == "Cast" or op.type in INTEGER_DIVISIONS):
        return False
    before, after = op.inputs[0].dtype, op.outputs[0].dtype
    if op.type == "Cast":
        return bool(before.is_floating and after.is_integer)
    return bool(after.is_integer or (after.is_floating and op.type == "FloorDiv"))


def _loses_all_variation(op: GraphOperation) -> Tensor:
    """1 if all results are equal and the inputs were not, else 0."""
    enough = tf.size(op.outputs[0]) >= MIN_RESULTS
    return tf.cast(enough & _all_equal(op.outputs[0]) & ~_all_equal(op.inputs[0]), tf.float32)


def _all_equal(tensor: Tensor) -> Tensor:
    """Whether all values are equal; True for an empty tensor."""
    values = tf.reshape(tensor, [-1])
    return tf.reduce_all(values[1:] == values[:-1])


def _wrapped_share(op: GraphOperation) -> Tensor:
    """Share of an operation's results that differ from those in a wide type."""
    result = op.outputs[0]
    if op.type == "Cast":  # cutting off the fraction is no overflow
        value = tf.cast(op.inputs[0], tf.float64)
        is_wrapped = (value <= result.dtype.min - 1) | (value >= result.dtype.max + 1)
    else:
        wide = WIDE_OPERATIONS[op.type](*(tf.cast(tensor, tf.int64) for tensor in op.inputs))
        is_wrapped = tf.cast(result, tf.int64) != wide
    return tf.reduce_mean(tf.cast(is_wrapped, tf.float32))


def describe_overflow(
    plan: OverflowPlan, shares: Array, ends: Sequence[Tensor]
) -> tuple[WrappedIntegers, ...]:
    """What the comparisons found, in the order of execution, without operations that are harmless.

    Harmless is an operation without overflow. It is also harmless to lose all variation if outputs
    and loss use the same input in another way, or do not use the operation.

    Args:
        plan: the plan whose tensor was fetched.
        shares: the fetched numbers, (N).
        ends: the tensors of outputs and loss.
    """
    return tuple(
        WrappedIntegers(
            path=owner.path if owner is not None else "",
            layer=owner.layer_path if owner is not None else "",
            op=str(op.type),
            dtype=op.outputs[0].dtype.name,
            share=float(share),
            flat=loses_variation,
        )
        for (op, owner, loses_variation), share in zip(plan.checks, np.asarray(shares), strict=True)
        if share > 0 and not (loses_variation and not _is_only_path(op, ends))
    )


def _is_only_path(op: GraphOperation, ends: Sequence[Tensor]) -> bool:
    """Whether ``ends`` depend on the input of an operation, and only through the operation."""
    origin = op.inputs[0].op
    while len(sources := [t.op for t in origin.inputs if t.op.type != "Const"]) == 1:
        (origin,) = sources
    return op.name in ancestor_operations(
        ends, stop_types=SHAPE_OPS
    ) and origin.name not in ancestor_operations(ends, stop_types=SHAPE_OPS, excluded=op)
