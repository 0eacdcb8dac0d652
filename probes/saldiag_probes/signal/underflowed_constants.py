"""Small constants that float16 rounds to 0 and that therefore protect nothing.

``log(x + 1e-8)`` under float16 is ``log(x + 0)``: the constant is converted to float16 when the
graph is built. Nobody adds a 0 on purpose, least of all before a logarithm or in a denominator; but
Python's ``sum`` starts at one, and a constant that was 0 in Python is no epsilon.
"""

from __future__ import annotations

from collections.abc import Iterator, Set

import keras
import tensorflow as tf

from saldiag.core.keras_types import Tensor
from saldiag.core.measurement import LostConstant
from saldiag.keras_internals.layers import is_keras_layer
from saldiag_probes.trace.calls import Trace, TracedCall

NONZERO_INPUT = {
    "Div": 1, "DivNoNan": 1, "Log": 0, "RealDiv": 1, "Reciprocal": 0, "Rsqrt": 0, "Sqrt": 0,
}  # fmt: skip
"""By type of operation the index of the input that must not be 0, for the value or the gradient."""

PASS_THROUGH_OPS = frozenset({"Cast", "Identity", "Reshape", "Sqrt"})
"""Operations to look through between the addition and the protected operation."""
ADD_OPS = frozenset({"Add", "AddV2"})
"""Types of the additions."""


def lost_constants(trace: Trace) -> tuple[LostConstant, ...]:
    """The float16 constants of 0 meant to keep a value from being 0, outside of Keras' layers."""
    return tuple(dict.fromkeys(_find_lost_constants(trace)))


def _find_lost_constants(trace: Trace) -> Iterator[LostConstant]:
    owners = trace.owners()
    for index, op in enumerate(trace.operations()):
        owner = owners[index]
        if op.type not in NONZERO_INPUT or _is_keras_code(owner):
            continue
        guard = _guarding_operation(op.inputs[NONZERO_INPUT[op.type]], trace.zero_constants)
        if guard in ADD_OPS or (guard == "Maximum" and op.type != "Sqrt"):
            path, layer = (owner.path, owner.layer_path) if owner is not None else ("", "")
            yield LostConstant(path, layer, guard, op.type)


def _guarding_operation(tensor: Tensor, known_zeros: Set[str]) -> str:
    """Type of the addition or maximum with a lost constant that produced a tensor, or ``""``."""
    op = tensor.op
    while op.type in PASS_THROUGH_OPS and op.inputs:
        op = op.inputs[0].op
    adds_zero = op.type in {*ADD_OPS, "Maximum"} and any(
        _is_float16_zero(source) and source.op.name not in known_zeros for source in op.inputs
    )
    return str(op.type) if adds_zero else ""


def _is_float16_zero(tensor: Tensor) -> bool:
    """Whether a tensor is a scalar float16 constant of 0."""
    scalar = tensor.dtype == tf.float16 and tensor.op.type == "Const" and tensor.shape.rank == 0
    return scalar and float(tf.get_static_value(tensor)) == 0.0


def _is_keras_code(owner: TracedCall | None) -> bool:
    """Whether the operation belongs to one of Keras' own layers."""
    if owner is None or not owner.leaf or isinstance(owner.layer, keras.layers.Lambda):
        return False
    return is_keras_layer(owner.layer)
