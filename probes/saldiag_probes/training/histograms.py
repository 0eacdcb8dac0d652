"""Histograms with a fixed number of bins between the smallest and the largest finite value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from saldiag.core.keras_types import Gradient, Tensor
from saldiag.core.measurement import Array, Histograms
from saldiag.keras_internals.graphs import is_compiled_by_xla
from saldiag_probes.training import batched_statistics

BINS = 30
"""The number of bins that TensorBoard shows."""


def histogram_of(values: Tensor, bins: int = BINS) -> tuple[Array, Array]:
    """Counts (``bins``) and edges (``bins + 1``) of the finite elements of an array.

    If all values are equal, the range around them is 1 wide as in NumPy, or wider for large values.
    Without any finite value the counts are zeros between 0 and 1.
    """
    flat = np.asarray(values).ravel()
    if flat.dtype.kind not in "fiu":
        flat = flat.astype(np.float32)  # bfloat16, bool
    finite = flat if flat.dtype.kind in "iu" else flat[np.isfinite(flat)]
    if finite.size == 0:
        return np.zeros(bins, np.int64), np.linspace(0.0, 1.0, bins + 1)
    low, high = _nonempty_range(float(finite.min()), float(finite.max()))
    # Equal bins need no search: several times faster than numpy.histogram.
    scaled = (finite.astype(np.float64) - low) / (high - low) * bins
    index = np.clip(scaled.astype(np.int64), 0, bins - 1)
    return np.bincount(index, minlength=bins), np.linspace(low, high, bins + 1)


def histograms_of(arrays: Mapping[str, Any], step: int, bins: int = BINS) -> Histograms:
    """The histogram of each array.

    Args:
        arrays: arrays by name (``weights/PATH``, ``activations/PATH``, …).
        step: the step they belong to.
        bins: number of bins.
    """
    pairs = [histogram_of(array, bins) for array in arrays.values()]
    return Histograms(
        names=tuple(arrays),
        steps=np.full(len(pairs), step, np.int64),
        counts=np.array([counts for counts, _ in pairs], np.int64).reshape(-1, bins),
        edges=np.array([edges for _, edges in pairs], np.float64).reshape(-1, bins + 1),
    )


def merge_histograms(parts: Iterable[Histograms]) -> Histograms:
    """Several histograms as one, ordered by step and, within a step, as given."""
    nonempty = [part for part in parts if part.names]
    if not nonempty:
        return histograms_of({}, 0)
    steps = np.concatenate([part.steps for part in nonempty])
    order = np.argsort(steps, kind="stable")
    names = [name for part in nonempty for name in part.names]
    return Histograms(
        names=tuple(names[i] for i in order),
        steps=steps[order],
        counts=np.concatenate([part.counts for part in nonempty])[order],
        edges=np.concatenate([part.edges for part in nonempty])[order],
    )


def gradient_histograms(gradients: Sequence[Gradient]) -> Tensor:
    """Low end, high end and ``BINS`` counts of each gradient, in the graph: (K, 2 + BINS) float64.

    The range always contains 0, because the elements missing in a sparse gradient are zero. A
    gradient of None gives a row of nan.
    """
    present = [gradient for gradient in gradients if gradient is not None]
    absent = tf.constant(np.nan, tf.float64, [1, 2 + BINS])
    if not present:
        return tf.repeat(absent, len(gradients), 0)
    sizes = [gradient.shape.num_elements() or 0 for gradient in present]
    # float64, and more temporary tensors than for norms: smaller blocks limit peak memory.
    groups = batched_statistics.group_by_size(sizes, batched_statistics.BLOCK_ELEMENTS // 2)
    rows = [_block_histograms(present[group[0] : group[-1] + 1]) for group in groups]
    return tf.gather(tf.concat([*rows, absent], 0), batched_statistics.order_with_gaps(gradients))


def rows_to_histograms(names: Sequence[str], steps: Array, rows: Array) -> Histograms:
    """Rows of ``gradient_histograms``, read by Python, as a measurement.

    Args:
        names: names of the K tensors.
        steps: (T).
        rows: (T, K, 2 + BINS); a row of nan is left out.
    """
    chosen = [
        (name, step, row)
        for step, values in zip(steps, rows, strict=True)
        for name, row in zip(names, values, strict=True)
        if not np.isnan(row[0])
    ]
    edges = [np.linspace(row[0], row[1], BINS + 1) for _, _, row in chosen]
    return Histograms(
        names=tuple(name for name, _, _ in chosen),
        steps=np.array([step for _, step, _ in chosen], np.int64),
        counts=np.array([row[2:] for _, _, row in chosen], np.int64).reshape(-1, BINS),
        edges=np.array(edges, np.float64).reshape(-1, BINS + 1),
    )


def _nonempty_range(low: float, high: float) -> tuple[float, float]:
    if high > low:
        return low, high
    half = max(0.5, abs(low) * 1e-6)  # wide enough to be representable next to a large value
    return low - half, high + half


def _block_histograms(gradients: Sequence[Gradient]) -> Tensor:
    block = batched_statistics.pack_tensors(gradients)
    values = tf.cast(block.matrix, tf.float64)
    finite = tf.math.is_finite(values)
    values = tf.where(finite, values, tf.zeros_like(values))
    low, high = _value_ranges(block, values)
    scale = BINS / (high - low)
    offset = tf.gather(low, block.owner)[:, tf.newaxis]
    scaled = (values - offset) * tf.gather(scale, block.owner)[:, tf.newaxis]
    index = tf.clip_by_value(tf.cast(scaled, tf.int32), 0, BINS - 1)
    index += block.owner[:, tf.newaxis] * BINS
    nonfinite_bin = block.count * BINS  # one extra bin, dropped below
    index = tf.where(finite, index, tf.fill(tf.shape(index), nonfinite_bin))
    counts = _count_each(tf.reshape(index, [-1]), nonfinite_bin + 1)
    counts = tf.reshape(tf.cast(counts[:nonfinite_bin], tf.float64), [-1, BINS])
    # Correct the count of zeros: padding adds some, rows missing in a sparse gradient lack some.
    missing = (
        block.sizes
        - block.sum_per_tensor(tf.ones_like(block.owner)) * batched_statistics.ROW_LENGTH
    )
    zero_bin = tf.clip_by_value(tf.cast(-low * scale, tf.int32), 0, BINS - 1)
    counts += tf.one_hot(zero_bin, BINS, dtype=tf.float64) * missing[:, tf.newaxis]
    return tf.concat([low[:, tf.newaxis], high[:, tf.newaxis], counts], 1)


def _count_each(index: Tensor, bins: Any) -> Tensor:
    """How often each number below ``bins`` occurs: (``bins``), integers."""
    if is_compiled_by_xla():  # it has no bincount
        return tf.math.unsorted_segment_sum(tf.ones_like(index), index, bins)
    return tf.math.bincount(index, minlength=bins, maxlength=bins, dtype=tf.int64)


def _value_ranges(block: batched_statistics.Block, values: Tensor) -> tuple[Any, Any]:
    """Ends of each tensor's range, with 0 inside: two of (K) float64."""
    zero = tf.zeros([], tf.float64)
    low = tf.math.unsorted_segment_min(tf.reduce_min(values, 1), block.owner, block.count)
    high = tf.math.unsorted_segment_max(tf.reduce_max(values, 1), block.owner, block.count)
    low, high = tf.minimum(low, zero), tf.maximum(high, zero)
    flat = tf.equal(low, high)
    return tf.where(flat, low - 0.5, low), tf.where(flat, high + 0.5, high)
