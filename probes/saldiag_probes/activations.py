"""What the layers put out: level, spread, dead and saturated units, and whether the input matters.

The values come out of the graph of one forward pass, and the statistics are taken of the finite
ones, in float32. Of a large output (more than ``ENOUGH`` values) all are looked at for what is not
finite, and the statistics are those of evenly spaced places of all samples and units.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from saldiag.core.measurement import ActivationRow, Activations, Array
from saldiag_probes.calls import Call, CannotMeasure, Trace
from saldiag_probes.wiring import activation

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
    """The outputs in the graph; ``fetch`` holds for each of ``calls`` some values and a share.

    The values are float32 of shape (samples, places, units); the share is that of the values of
    the whole output that are not finite.
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
    values = tf.cast(tensor, tf.float32)
    if not _has_samples(call):
        values = tf.reshape(values, [1, -1])
    fetched: tuple[Any, Any] = _some(tf.reshape(values, [-1]), tf.shape(values))
    return fetched


def _has_samples(call: Call) -> bool:
    return call.batched and _output(call).shape.rank not in {None, 0}


def _has_units(call: Call) -> bool:
    return _has_samples(call) and _output(call).shape.rank > 1


@tf.function(
    autograph=False,
    experimental_attributes={"_noinline": True},
    input_signature=[tf.TensorSpec([None], tf.float32), tf.TensorSpec([None], tf.int32)],
)
def _some(flat: Any, shape: Any) -> tuple[Any, Any]:
    """Of (samples, places…, units) every n-th place, and the share of all that is not finite.

    Traced once for tensors of every shape. A pass over all values costs more than anything else
    here, so there is but one where they are finite: any that is not makes the sum not finite.
    """
    sound = tf.math.is_finite(tf.reduce_sum(flat))
    share = tf.cond(sound, lambda: 0.0, lambda: _nonfinite(flat))
    samples = shape[0]
    units = tf.where(tf.size(shape) > 1, shape[-1], 1)  # a number for each sample is one unit
    places = tf.size(flat) // tf.maximum(samples * units, 1)
    every = 1 + (tf.size(flat) - 1) // ENOUGH
    every += 1 - every % 2  # an even one can hit the same column in every row
    return tf.reshape(flat, tf.stack([samples, places, units]))[:, ::every], share


def _nonfinite(flat: Any) -> Any:
    return tf.reduce_mean(tf.cast(~tf.math.is_finite(flat), tf.float32))


def describe(
    activations: ActivationPlan,
    fetched: Sequence[tuple[Array, Array]],
    *,
    training: bool,
    batch_size: int,
) -> Activations:
    """The measurement, from what was fetched."""
    rows = zip(activations.calls, fetched, strict=True)
    return Activations(
        rows=tuple(_row(call, some, float(nonfinite)) for call, (some, nonfinite) in rows),
        training=training,
        batch_size=batch_size,
    )


def _row(call: Call, some: Array, nonfinite: float) -> ActivationRow:
    finite = np.isfinite(some)
    whole = bool(finite.all())
    values = some if whole else some[finite]
    filled = some if whole else np.where(finite, some, np.float32(0.0))
    spread = float(values.std()) if values.size else _NAN
    zeros = some == 0
    return ActivationRow(
        path=call.path,
        layer=call.layer_path,
        kind=call.kind,
        activation=activation(call),
        depth=call.depth,
        leaf=call.leaf,
        mean=float(values.mean()) if values.size else _NAN,
        std=spread,
        minimum=float(values.min()) if values.size else _NAN,
        maximum=float(values.max()) if values.size else _NAN,
        zero_share=_share(zeros),
        dead_share=_share(zeros.all(axis=(0, 1))) if _has_units(call) else _NAN,
        saturated_share=_saturated(some, *LIMITS.get(activation(call) or "", (_NAN, _NAN))),
        nonfinite_share=nonfinite,
        sample_variation=_variation(filled, spread) if len(some) > 1 else _NAN,
    )


def _share(condition: Array) -> float:
    return float(condition.mean()) if condition.size else _NAN


def _saturated(values: Array, low: float, high: float) -> float:
    if math.isnan(high):
        return _NAN
    margin = MARGIN * (high - (low if math.isfinite(low) else 0.0))
    return _share((values <= low + margin) | (values >= high - margin))


def _variation(values: Array, spread: float) -> float:
    """Standard deviation across samples, averaged over elements, over the overall one."""
    return float(values.std(axis=0).mean()) / spread if spread > 0.0 else 0.0


def measure_activations(model: Any, x: Any, training: bool = False) -> Activations:
    """Statistics of every layer call's output over one batch.

    Args:
        model: any Keras model, compiled or not.
        x: the model's input; arrays or tensors, nested as the model takes them.
        training: the mode of the forward pass.

    Raises:
        CannotMeasure: the model cannot be called, or the pass failed.
    """
    from saldiag_probes.survey import survey

    found = survey(model, (x,), training=training, flow=False)
    if found.activations is None:
        raise CannotMeasure(found.missing[Activations.key])
    return found.activations
