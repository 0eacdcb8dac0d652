"""What the layers put out: level, spread, dead and saturated units, and whether the input matters.

All statistics are taken in the graph of one forward pass, in float32, over the finite values. Of a
large output (more than ``ENOUGH`` values) the least, the largest and what is not finite are those
of all its values, the other statistics those of evenly spaced places of all samples and units.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

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
ENOUGH = 1 << 20
"""Values of an output that tell its mean and shares. QUICKSAL's largest at 224x224 has 144 times as
many, and statistics of all of them take longer than the model's own forward pass."""
_FIELDS = 9


@dataclass(eq=False)
class ActivationPlan:
    """The statistics in the graph; ``fetch`` is (calls, 9) float32, in the order of ``calls``."""

    calls: list[Call]
    fetch: Any


def plan(trace: Trace) -> ActivationPlan:
    """Add the statistics of the first float output of every call to the graph."""
    calls = [call for call in trace.calls if call.skipped is None and _output(call) is not None]
    facts = [_facts(call) for call in calls]
    return ActivationPlan(calls, tf.stack(facts) if facts else tf.zeros([0, _FIELDS]))


def _output(call: Call) -> Any:
    return next((tensor for tensor in call.outputs if tensor.dtype.is_floating), None)


def _facts(call: Call) -> Any:
    tensor = _output(call)
    values = tf.cast(tensor, tf.float32)
    low, high = LIMITS.get(activation(call) or "", (float("nan"), float("nan")))
    if not call.batched or tensor.shape.rank in {None, 0}:
        values = tf.reshape(values, [1, -1])  # no samples to tell apart
    return _statistics(tf.reshape(values, [-1]), tf.shape(values), low, high)


@tf.function(
    autograph=False,
    experimental_attributes={"_noinline": True},
    input_signature=[
        tf.TensorSpec([None], tf.float32),
        tf.TensorSpec([None], tf.int32),
        tf.TensorSpec([], tf.float32),
        tf.TensorSpec([], tf.float32),
    ],
)
def _statistics(flat: Any, shape: Any, low: Any, high: Any) -> Any:
    """The nine numbers of an ``ActivationRow``; traced once for tensors of every shape.

    A pass over the values costs more than anything else here: what most tensors do not need is
    behind a ``cond``.
    """
    # One value that is not finite makes the sum not finite.
    sound = tf.math.is_finite(tf.reduce_sum(flat))
    extremes = tf.cond(sound, lambda: _extremes(flat), lambda: _extremes(_only_finite(flat)))
    unsound = tf.cond(sound, lambda: 0.0, lambda: _share(~tf.math.is_finite(flat), tf.size(flat)))
    some, shape = _fewer_places(flat, shape)
    return tf.concat([extremes, [unsound], _spread(some, shape, sound, low, high)], axis=0)


def _extremes(finite: Any) -> Any:
    return tf.stack([tf.reduce_min(finite), tf.reduce_max(finite)])


def _fewer_places(flat: Any, shape: Any) -> tuple[Any, Any]:
    """Of (samples, places…, units) every n-th place, and the shape that is left."""
    samples, units = shape[0], shape[-1]
    whole = tf.stack([samples, -1, units])
    every = 1 + (tf.size(flat) - 1) // ENOUGH

    def fewer() -> tuple[Any, Any]:
        some = tf.reshape(flat, whole)[:, ::every]
        return tf.reshape(some, [-1]), tf.shape(some)

    fewest: tuple[Any, Any] = tf.cond(
        (tf.size(shape) > 2) & (every > 1), fewer, lambda: (flat, shape)
    )
    return fewest


def _spread(flat: Any, shape: Any, sound: Any, low: Any, high: Any) -> Any:
    """Mean, standard deviation, shares of zeros, dead units and saturated values, variation."""
    finite = tf.cond(sound, lambda: flat, lambda: _only_finite(flat))
    values = tf.cond(sound, lambda: flat, lambda: tf.where(tf.math.is_finite(flat), flat, 0.0))
    mean = tf.reduce_mean(finite)
    std = tf.sqrt(2.0 * tf.nn.l2_loss(finite - mean) / tf.cast(tf.size(finite), tf.float32))
    zero, nan = flat == 0.0, tf.constant(float("nan"))
    limited = ~tf.math.is_nan(high)
    return tf.stack(
        [
            mean,
            std,
            _share(zero, tf.size(flat)),
            tf.cond(tf.size(shape) > 1, lambda: _dead(zero, shape), lambda: nan),
            tf.cond(limited, lambda: _saturated(flat, low, high), lambda: nan),
            tf.cond(shape[0] > 1, lambda: _variation(values, shape, std), lambda: nan),
        ]
    )


def _only_finite(flat: Any) -> Any:
    return tf.boolean_mask(flat, tf.math.is_finite(flat))


def _share(condition: Any, size: Any) -> Any:
    return tf.math.count_nonzero(condition, dtype=tf.float32) / tf.cast(size, tf.float32)


def _dead(zero: Any, shape: Any) -> Any:
    """Share of the units on the last axis that are zero everywhere."""
    units = tf.reduce_all(tf.reshape(zero, [-1, shape[-1]]), axis=0)
    return tf.reduce_mean(tf.cast(units, tf.float32))


def _saturated(flat: Any, low: Any, high: Any) -> Any:
    margin = MARGIN * (high - tf.where(tf.math.is_finite(low), low, 0.0))
    return _share((flat <= low + margin) | (flat >= high - margin), tf.size(flat))


def _variation(values: Any, shape: Any, std: Any) -> Any:
    """Standard deviation across samples, averaged over elements, over the overall one."""
    samples = tf.reshape(values, [shape[0], -1])
    across = tf.reduce_mean(tf.math.reduce_std(samples, axis=0))
    return tf.where(std > 0.0, across / std, 0.0)


def describe(
    activations: ActivationPlan, fetched: Array, *, training: bool, batch_size: int
) -> Activations:
    """The measurement, from the fetched numbers."""
    rows = zip(activations.calls, fetched.tolist(), strict=True)
    return Activations(
        rows=tuple(_row(call, numbers) for call, numbers in rows),
        training=training,
        batch_size=batch_size,
    )


def _row(call: Call, numbers: list[float]) -> ActivationRow:
    minimum, maximum, nonfinite, mean, std, zero, dead, saturated, variation = numbers
    some = nonfinite < 1.0  # else nothing is left to take a minimum of
    return ActivationRow(
        path=call.path,
        layer=call.layer_path,
        kind=call.kind,
        activation=activation(call),
        depth=call.depth,
        leaf=call.leaf,
        mean=mean,
        std=std,
        minimum=minimum if some else float("nan"),
        maximum=maximum if some else float("nan"),
        zero_share=zero,
        dead_share=dead,
        saturated_share=saturated,
        nonfinite_share=nonfinite,
        sample_variation=variation,
    )


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
