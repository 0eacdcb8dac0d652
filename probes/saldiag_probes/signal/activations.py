"""Statistics of the layers' outputs: level, spread, dead and saturated units, effect of the input.

The values come from the graph of one forward pass. The statistics cover the finite values, in
float32. For a large output (more than ``MAX_SAMPLED_VALUES`` values) they cover evenly spaced
positions of all samples and units; the search for non-finite values covers the whole output.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from saldiag.core.keras_types import Tensor
from saldiag.core.measurement import ActivationRow, Activations, Array
from saldiag.keras_internals.graphs import NOT_INLINED
from saldiag_probes.network.wiring import call_activation
from saldiag_probes.trace.calls import Trace, TracedCall

SATURATION_LIMITS = {
    "sigmoid": (0.0, 1.0),
    "hard_sigmoid": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    "hard_tanh": (-1.0, 1.0),
    "softsign": (-1.0, 1.0),
    "relu6": (float("-inf"), 6.0),
}
"""Limits at which an activation saturates. A relu6's zeros are counted as zeros; softmax is missing
because with many classes most of its values are near 0."""
SATURATION_MARGIN = 0.01
"""Distance from a limit within which a value counts as saturated, as a share of the range."""
MAX_SAMPLED_VALUES = 1 << 17
"""Number of values of one output that the statistics are taken from. QUICKSAL's largest output at
224x224 has 1,100 times as many, and statistics of all of them take longer than the model's own
forward pass."""
_NAN = float("nan")


@dataclass(eq=False)
class ActivationPlan:
    """The tensors to fetch from the graph for activation statistics."""

    calls: list[TracedCall]
    """The calls with a float output."""
    fetch: list[tuple[Any, Any]]
    """For each call its values, float32 of shape (samples, positions, units), and the float32 sum
    of the whole output, which is not finite if any value is not. The sum is ``()`` if the values
    are the whole output."""


def plan_activations(trace: Trace) -> ActivationPlan:
    """Add the tensors to fetch for the first float output of every call to the graph."""
    calls = [
        call for call in trace.calls if call.skipped is None and _float_output(call) is not None
    ]
    return ActivationPlan(calls, [_fetched_values(call) for call in calls])


def _float_output(call: TracedCall) -> Tensor:
    """The first float output; None if there is none."""
    return next((tensor for tensor in call.outputs if tensor.dtype.is_floating), None)


def _fetched_values(call: TracedCall) -> tuple[Any, Any]:
    tensor = _float_output(call)
    if not _has_samples(call):
        tensor = tf.reshape(tensor, [1, -1])
    if not tensor.shape.is_fully_defined():
        sampled: tuple[Any, Any] = _sample_dynamic_shape(
            tf.cast(tensor, tf.float32), tf.shape(tensor)
        )
        return sampled
    size, samples = tensor.shape.num_elements(), tensor.shape[0]
    units = tensor.shape[-1] if tensor.shape.rank > 1 else 1  # one number per sample: one unit
    stride = _sampling_stride(size)
    values = tf.reshape(tensor, [samples, size // max(samples * units, 1), units])
    if stride == 1:
        return tf.cast(values, tf.float32), ()
    return tf.cast(values[:, ::stride], tf.float32), _float32_sum(tensor)


def _sampling_stride(size: Any) -> Any:
    """The stride over the positions of an output with ``size`` values."""
    stride = 1 + (size - 1) // MAX_SAMPLED_VALUES
    return stride + 1 - stride % 2  # an even stride can hit the same column in every row


def _float32_sum(tensor: Tensor) -> Tensor:
    """The sum of all values: the only pass over a whole output, as passes dominate the cost."""
    return tf.reduce_sum(tf.cast(tensor, tf.float32))


def _has_samples(call: TracedCall) -> bool:
    return call.batched and _float_output(call).shape.rank not in {None, 0}


def _has_units(call: TracedCall) -> bool:
    return _has_samples(call) and _float_output(call).shape.rank > 1


@tf.function(
    autograph=False,
    experimental_attributes=NOT_INLINED,
    input_signature=[tf.TensorSpec(None, tf.float32), tf.TensorSpec([None], tf.int32)],
)
def _sample_dynamic_shape(tensor: Tensor, shape: Any) -> tuple[Any, Any]:
    """Values and sum of a tensor whose shape is known only at run time; traced once for all."""
    samples = shape[0]
    units = tf.where(tf.size(shape) > 1, shape[-1], 1)
    positions = tf.size(tensor) // tf.maximum(samples * units, 1)
    values = tf.reshape(tensor, tf.stack([samples, positions, units]))
    return values[:, :: _sampling_stride(tf.size(tensor))], _float32_sum(tensor)


def describe_activations(
    activations: ActivationPlan,
    fetched: Sequence[tuple[Array, Any]],
    *,
    training: bool,
    batch_size: int,
) -> Activations:
    """The measurement.

    Args:
        activations: the plan whose tensors were fetched.
        fetched: the fetched numbers, in the structure of ``activations.fetch``.
        training: the mode of the pass.
        batch_size: number of samples.
    """
    rows = zip(activations.calls, fetched, strict=True)
    return Activations(
        rows=tuple(_activation_row(call, values, total) for call, (values, total) in rows),
        training=training,
        batch_size=batch_size,
    )


def _activation_row(call: TracedCall, values: Array, total: Any) -> ActivationRow:
    finite = np.isfinite(values)
    all_finite = bool(finite.all())
    finite_values = values if all_finite else values[finite]
    zero_filled = values if all_finite else np.where(finite, values, np.float32(0.0))
    # In float64: the square of a float32 value can overflow float32.
    spread = float(finite_values.std(dtype=np.float64)) if finite_values.size else _NAN
    zeros = values == 0
    return ActivationRow(
        path=call.path,
        layer=call.layer_path,
        kind=call.kind,
        activation=call_activation(call),
        depth=call.depth,
        leaf=call.leaf,
        mean=float(finite_values.mean(dtype=np.float64)) if finite_values.size else _NAN,
        std=spread,
        minimum=float(finite_values.min()) if finite_values.size else _NAN,
        maximum=float(finite_values.max()) if finite_values.size else _NAN,
        zero_share=_true_share(zeros),
        dead_share=_true_share(zeros.all(axis=(0, 1))) if _has_units(call) else _NAN,
        saturated_share=_saturated_share(
            values, *SATURATION_LIMITS.get(call_activation(call) or "", (_NAN, _NAN))
        ),
        nonfinite_share=max(_true_share(~finite), _min_nonfinite_share(call, values, total)),
        sample_variation=_sample_variation(zero_filled, spread) if len(values) > 1 else _NAN,
    )


def _min_nonfinite_share(call: TracedCall, values: Array, total: Any) -> float:
    """Lower bound of the non-finite share: one value of the whole output if its sum is not finite.

    The sum of finite values can overflow, too; where that is possible, the bound is 0.
    """
    size = _float_output(call).shape.num_elements() or values.size
    if not np.size(total) or np.isfinite(total):
        return 0.0
    largest = float(np.max(np.abs(values), initial=0.0))
    return 1.0 / size if largest * size < float(np.finfo(np.float32).max) else 0.0


def _true_share(condition: Array) -> float:
    return float(condition.mean()) if condition.size else _NAN


def _saturated_share(values: Array, low: float, high: float) -> float:
    """Share of values within the margin of a limit; nan for activations without limits."""
    if math.isnan(high):
        return _NAN
    margin = SATURATION_MARGIN * (high - (low if math.isfinite(low) else 0.0))
    return _true_share((values <= low + margin) | (values >= high - margin))


def _sample_variation(values: Array, spread: float) -> float:
    """Standard deviation across samples, averaged over elements, over the overall one."""
    return float(values.std(axis=0, dtype=np.float64).mean()) / spread if spread > 0.0 else 0.0
