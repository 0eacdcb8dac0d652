"""What the layers put out: level, spread, dead and saturated units, and whether the input matters.

The values come out of the graph of one forward pass, and the statistics are taken of the finite
ones, in float32. Of a large output (more than ``ENOUGH`` values) the statistics are those of evenly
spaced places of all samples and units; all of its values are looked at for one that is not finite.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from saldiag.core.measurement import ActivationRow, Activations, Array
from saldiag.keras_internals.graphs import NOT_INLINED
from saldiag_probes.network.wiring import activation
from saldiag_probes.trace.recorder import Call, Trace

LIMITS = {
    "sigmoid": (0.0, 1.0),
    "hard_sigmoid": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    "hard_tanh": (-1.0, 1.0),
    "softsign": (-1.0, 1.0),
    "relu6": (float("-inf"), 6.0),
}
"""Limits at which an activation saturates. relu6's zeros are counted as zeros, and a softmax is
left out: most of its values are near 0 wherever there are many classes."""
MARGIN = 0.01
ENOUGH = 1 << 17
"""Values of an output that tell its mean and shares. QUICKSAL's largest at 224x224 has 1,100 times
as many, and statistics of all of them take longer than the model's own forward pass."""
_NAN = float("nan")


@dataclass(eq=False)
class ActivationPlan:
    """The outputs in the graph; ``fetch`` holds for each of ``calls`` some values and a sum.

    The values are float32 of shape (samples, places, units). The sum is that of the whole output,
    one value of which that is not finite makes it not finite; ``()`` where the values are the
    whole.
    """

    calls: list[Call]
    fetch: list[tuple[Any, Any]]


def plan(trace: Trace) -> ActivationPlan:
    """Add what is fetched of the first float output of every call to the graph."""
    calls = [call for call in trace.calls if call.skipped is None and _output(call) is not None]
    return ActivationPlan(calls, [_fetch(call) for call in calls])


def _output(call: Call) -> Any:
    return next((tensor for tensor in call.outputs if tensor.dtype.is_floating), None)


def _fetch(call: Call) -> tuple[Any, Any]:
    tensor = _output(call)
    if not _has_samples(call):
        tensor = tf.reshape(tensor, [1, -1])
    if not tensor.shape.is_fully_defined():
        found: tuple[Any, Any] = _some(tf.cast(tensor, tf.float32), tf.shape(tensor))
        return found
    size, samples = tensor.shape.num_elements(), tensor.shape[0]
    units = tensor.shape[-1] if tensor.shape.rank > 1 else 1  # a number for each sample: one unit
    every = _every(size)
    values = tf.reshape(tensor, [samples, size // max(samples * units, 1), units])
    if every == 1:
        return tf.cast(values, tf.float32), ()
    return tf.cast(values[:, ::every], tf.float32), _sum(tensor)


def _every(size: Any) -> Any:
    """Which places to take of an output of that size."""
    every = 1 + (size - 1) // ENOUGH
    return every + 1 - every % 2  # an even one can hit the same column in every row


def _sum(tensor: Any) -> Any:
    """A pass over all values costs more than anything else here, so there is but this one."""
    return tf.reduce_sum(tf.cast(tensor, tf.float32))


def _has_samples(call: Call) -> bool:
    return call.batched and _output(call).shape.rank not in {None, 0}


def _has_units(call: Call) -> bool:
    return _has_samples(call) and _output(call).shape.rank > 1


@tf.function(
    autograph=False,
    experimental_attributes=NOT_INLINED,
    input_signature=[tf.TensorSpec(None, tf.float32), tf.TensorSpec([None], tf.int32)],
)
def _some(tensor: Any, shape: Any) -> tuple[Any, Any]:
    """The same of a tensor whose shape is known only when the graph runs; traced once for all."""
    samples = shape[0]
    units = tf.where(tf.size(shape) > 1, shape[-1], 1)
    places = tf.size(tensor) // tf.maximum(samples * units, 1)
    values = tf.reshape(tensor, tf.stack([samples, places, units]))
    return values[:, :: _every(tf.size(tensor))], _sum(tensor)


def describe(
    activations: ActivationPlan,
    fetched: Sequence[tuple[Array, Any]],
    *,
    training: bool,
    batch_size: int,
) -> Activations:
    """The measurement, from what was fetched."""
    rows = zip(activations.calls, fetched, strict=True)
    return Activations(
        rows=tuple(_row(call, some, total) for call, (some, total) in rows),
        training=training,
        batch_size=batch_size,
    )


def _row(call: Call, some: Array, total: Any) -> ActivationRow:
    finite = np.isfinite(some)
    whole = bool(finite.all())
    values = some if whole else some[finite]
    filled = some if whole else np.where(finite, some, np.float32(0.0))
    # Squares of what float32 holds need not fit into it.
    spread = float(values.std(dtype=np.float64)) if values.size else _NAN
    zeros = some == 0
    return ActivationRow(
        path=call.path,
        layer=call.layer_path,
        kind=call.kind,
        activation=activation(call),
        depth=call.depth,
        leaf=call.leaf,
        mean=float(values.mean(dtype=np.float64)) if values.size else _NAN,
        std=spread,
        minimum=float(values.min()) if values.size else _NAN,
        maximum=float(values.max()) if values.size else _NAN,
        zero_share=_share(zeros),
        dead_share=_share(zeros.all(axis=(0, 1))) if _has_units(call) else _NAN,
        saturated_share=_saturated(some, *LIMITS.get(activation(call) or "", (_NAN, _NAN))),
        nonfinite_share=max(_share(~finite), _least_share(call, some, total)),
        sample_variation=_variation(filled, spread) if len(some) > 1 else _NAN,
    )


def _least_share(call: Call, some: Array, total: Any) -> float:
    """Of values that are not finite: one of the whole output at least, if its sum says so.

    The sum of finite ones can overflow, too; where it could, it says nothing.
    """
    size = _output(call).shape.num_elements() or some.size
    if not np.size(total) or np.isfinite(total):
        return 0.0
    largest = float(np.max(np.abs(some), initial=0.0))
    return 1.0 / size if largest * size < float(np.finfo(np.float32).max) else 0.0


def _share(condition: Array) -> float:
    return float(condition.mean()) if condition.size else _NAN


def _saturated(values: Array, low: float, high: float) -> float:
    if math.isnan(high):
        return _NAN
    margin = MARGIN * (high - (low if math.isfinite(low) else 0.0))
    return _share((values <= low + margin) | (values >= high - margin))


def _variation(values: Array, spread: float) -> float:
    """Standard deviation across samples, averaged over elements, over the overall one."""
    return float(values.std(axis=0, dtype=np.float64).mean()) / spread if spread > 0.0 else 0.0
