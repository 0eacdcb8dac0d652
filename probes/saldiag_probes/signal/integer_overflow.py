"""Integers of 8 or 16 bits that leave their range: in uint8, 100 - 128 is 228.

And those that keep nothing: 100 // 255 is 0, and so is 0.4 as an integer.
Each such operation on what comes from the input is computed a second time in a type that holds the
result, in the same pass over the same batch, and the two are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from saldiag.core.measurement import WrappedIntegers
from saldiag_probes.trace.backward import OF_SHAPE, made_of
from saldiag_probes.trace.dataflow import Dataflow
from saldiag_probes.trace.recorder import Call, Trace

SMALL = frozenset({"int8", "int16", "uint8", "uint16"})
WIDE: dict[str, Callable[..., Any]] = {
    "Add": tf.add,
    "AddV2": tf.add,
    "Mul": tf.multiply,
    "Neg": tf.negative,
    "Square": tf.square,
    "Sub": tf.subtract,
}
"""How to compute an operation again; the type of the wide result is int64."""
WHOLE = frozenset({"Div", "FloorDiv", "TruncateDiv"})
"""Divisions that cut off what is behind the point; ``Div`` does so for integers."""
FEWEST = 8
"""Results from which on it tells something that they are all the same."""


@dataclass(eq=False)
class WrappedPlan:
    """The comparisons in the graph; ``fetch`` holds the share that wraps, one an operation.

    Of a place that is ``flat``, the last of the three, it is 1 where all results are one number.
    """

    places: Sequence[tuple[Any, Call | None, bool]]
    fetch: Any


def plan(trace: Trace) -> WrappedPlan:
    """Add the comparisons to the graph of the trace."""
    depends, owners = Dataflow(trace), trace.owners()
    found = [
        (op, owners[index], flat)
        for index, op in enumerate(trace.operations())
        for flat, applies in ((False, _is_small), (True, _cuts_off))
        if applies(op) and any(depends.of(tensor) for tensor in op.inputs)
    ]
    shares = [_flat(op) if flat else _share(op) for op, _, flat in found]
    return WrappedPlan(found, tf.stack(shares) if shares else tf.zeros([0]))


def _is_small(op: Any) -> bool:
    if not op.outputs or op.outputs[0].dtype.name not in SMALL:
        return False
    return op.type in WIDE or (op.type == "Cast" and op.inputs[0].dtype.is_floating)


def _cuts_off(op: Any) -> bool:
    """Whether the operation makes whole numbers of what is none, at the first of its inputs."""
    if not op.outputs or not (op.type == "Cast" or op.type in WHOLE):
        return False
    before, after = op.inputs[0].dtype, op.outputs[0].dtype
    if op.type == "Cast":
        return bool(before.is_floating and after.is_integer)
    return bool(after.is_integer or (after.is_floating and op.type == "FloorDiv"))


def _flat(op: Any) -> Any:
    """1 where all results are one number and what went in was not."""
    enough = tf.size(op.outputs[0]) >= FEWEST
    return tf.cast(enough & _same(op.outputs[0]) & ~_same(op.inputs[0]), tf.float32)


def _same(tensor: Any) -> Any:
    """Whether all values are one; so are none at all."""
    values = tf.reshape(tensor, [-1])
    return tf.reduce_all(values[1:] == values[:-1])


def _share(op: Any) -> Any:
    """The share of an operation's results that are not what they are in a wide type."""
    made = op.outputs[0]
    if op.type == "Cast":  # what is cut off behind the point is not asked
        value = tf.cast(op.inputs[0], tf.float64)
        wraps = (value <= made.dtype.min - 1) | (value >= made.dtype.max + 1)
    else:
        wide = WIDE[op.type](*(tf.cast(tensor, tf.int64) for tensor in op.inputs))
        wraps = tf.cast(made, tf.int64) != wide
    return tf.reduce_mean(tf.cast(wraps, tf.float32))


def describe(planned: WrappedPlan, shares: Any, ends: Sequence[Any]) -> tuple[WrappedIntegers, ...]:
    """What the comparisons found, in the order of execution; operations that fit are left out.

    So are those that keep nothing of what the ``ends`` (outputs and loss) are made of in another
    way as well, or not at all.
    """
    return tuple(
        WrappedIntegers(
            path=owner.path if owner is not None else "",
            layer=owner.layer_path if owner is not None else "",
            op=str(op.type),
            dtype=op.outputs[0].dtype.name,
            share=float(share),
            flat=flat,
        )
        for (op, owner, flat), share in zip(planned.places, np.asarray(shares), strict=True)
        if share > 0 and not (flat and not _only_way(op, ends))
    )


def _only_way(op: Any, ends: Sequence[Any]) -> bool:
    """Whether ``ends`` are made of what goes into the operation, and by it alone."""
    origin = op.inputs[0].op
    while len(sources := [t.op for t in origin.inputs if t.op.type != "Const"]) == 1:
        (origin,) = sources
    return op.name in made_of(ends, past=OF_SHAPE) and origin.name not in made_of(
        ends, past=OF_SHAPE, but=op
    )
