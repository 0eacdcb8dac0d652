"""Small constants that float16 rounds to 0, so that they guard nothing.

``log(x + 1e-8)`` under float16 is ``log(x + 0)``: the constant is converted to float16 when the
graph is made, and stands in it as 0. Nobody adds a 0 on purpose, least of all before a logarithm or
in a denominator; but Python's ``sum`` starts at one, and what was 0 before is no epsilon.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from typing import Any

import keras
import tensorflow as tf

from saldiag.core.measurement import LostConstant
from saldiag.keras_internals.layers import is_keras_layer
from saldiag_probes.trace.recorder import Call, Trace

GUARDED = {
    "Div": 1, "DivNoNan": 1, "Log": 0, "RealDiv": 1, "Reciprocal": 0, "Rsqrt": 0, "Sqrt": 0,
}  # fmt: skip
"""By operation the input that must not be 0, for its value or for its gradient."""

PASSED = frozenset({"Cast", "Identity", "Reshape", "Sqrt"})
ADDING = frozenset({"Add", "AddV2"})


def lost_constants(trace: Trace) -> tuple[LostConstant, ...]:
    """The constants of 0 in float16 that were to keep something from 0, in the user's own code."""
    return tuple(dict.fromkeys(_found(trace)))


def _found(trace: Trace) -> Iterator[LostConstant]:
    owners = trace.owners()
    for index, op in enumerate(trace.operations()):
        owner = owners[index]
        if op.type not in GUARDED or _is_keras(owner):
            continue
        by = _kept_by(op.inputs[GUARDED[op.type]], trace.zeros)
        if by in ADDING or (by == "Maximum" and op.type != "Sqrt"):
            path, layer = (owner.path, owner.layer_path) if owner is not None else ("", "")
            yield LostConstant(path, layer, by, op.type)


def _kept_by(tensor: Any, zeros: Set[str]) -> str:
    """The addition or maximum with 0 that made a tensor, or an empty text."""
    op = tensor.op
    while op.type in PASSED and op.inputs:
        op = op.inputs[0].op
    zero = op.type in {*ADDING, "Maximum"} and any(
        _is_lost(source) and source.op.name not in zeros for source in op.inputs
    )
    return str(op.type) if zero else ""


def _is_lost(tensor: Any) -> bool:
    scalar = tensor.dtype == tf.float16 and tensor.op.type == "Const" and tensor.shape.rank == 0
    return scalar and float(tf.get_static_value(tensor)) == 0.0


def _is_keras(owner: Call | None) -> bool:
    """Whether the operation is in the code of one of Keras' own layers."""
    if owner is None or not owner.leaf or isinstance(owner.layer, keras.layers.Lambda):
        return False
    return is_keras_layer(owner.layer)
