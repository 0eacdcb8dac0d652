"""BatchNorm's statistics re-estimated on given batches ("precise BN", Wu & Johnson 2021).

Training updates the moving averages as ``moving = m * moving + (1 - m) * batch``. From zero, one
pass leaves ``(1 - m) * batch``, so the batch's own statistics can be read off without tracing
anything again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from saldiag.experiments.overfit.batch_statistics import batch_norm_layers
from saldiag.experiments.overfit.mode_errors import Batch, ModeErrors, batch_size


def recalibrated_error(errors: ModeErrors) -> float:
    """Inference error with BatchNorm's statistics re-estimated from the same batches.

    nan if the model has no BatchNorm layer that updates its statistics in training. The model is
    left unchanged.
    """
    with reestimated_statistics(errors) as moving:
        return errors.error(training=False) if moving else float("nan")


@contextmanager
def reestimated_statistics(errors: ModeErrors) -> Iterator[list[LayerStatistics]]:
    """Set BatchNorm's statistics to those of the batches of ``errors`` inside the block.

    Yields a row for each layer that updates its statistics in training. All statistics are
    restored after the block.
    """
    layers = batch_norm_layers(errors.model)
    before = [[v.numpy() for v in _moving_variables(layer)] for layer in layers]
    try:
        moving = [
            LayerStatistics(layer, (held[0], held[1]), estimate)
            for layer, held, estimate in zip(
                layers, before, _estimate_statistics(errors, layers), strict=True
            )
            if estimate is not None
        ]
        _assign_all(layers, before)
        for row in moving:
            _assign_statistics(row.layer, row.estimate)
        yield moving
    finally:
        _assign_all(layers, before)


@dataclass(frozen=True)
class LayerStatistics:
    """The statistics of one BatchNorm layer that updates them in training."""

    layer: Any
    """The BatchNormalization layer."""
    held: tuple[Any, Any]
    """Its moving mean and variance, (channels,) each."""
    estimate: tuple[Any, Any]
    """Mean and variance re-estimated from the batches, (channels,) each."""


def _moving_variables(layer: Any) -> tuple[Any, Any]:
    return layer.moving_mean, layer.moving_variance


def _assign_statistics(layer: Any, values: Sequence[Any]) -> None:
    for variable, value in zip(_moving_variables(layer), values, strict=True):
        variable.assign(value)


def _assign_all(layers: Sequence[Any], values: Sequence[Sequence[Any]]) -> None:
    for layer, value in zip(layers, values, strict=True):
        _assign_statistics(layer, value)


def _estimate_statistics(errors: ModeErrors, layers: Sequence[Any]) -> list[tuple[Any, Any] | None]:
    """Mean and variance over all batches for each layer; None for one that runs in inference mode.

    The total variance is the mean of the batches' variances plus the variance of their means.
    """
    held = {id(layer): [v.numpy() for v in _moving_variables(layer)] for layer in layers}
    # Layers in inference mode must not start from zero: they normalise with their statistics, and
    # zeros would ruin the inputs of every layer after them. Frozen layers are known; a layer that
    # is called with training=False shows by keeping its zeros through a first pass.
    moving = [layer for layer in layers if layer.trainable]
    first = _single_batch_statistics(errors, errors.batches[0], moving)
    unmoved = [
        layer for layer, batch in zip(moving, first, strict=True) if not any(map(np.any, batch))
    ]
    if unmoved:
        for layer in unmoved:
            _assign_statistics(layer, held[id(layer)])
        moving = [layer for layer in moving if all(layer is not one for one in unmoved)]
        first = _single_batch_statistics(errors, errors.batches[0], moving)
    by_batch = [
        first,
        *(_single_batch_statistics(errors, batch, moving) for batch in errors.batches[1:]),
    ]
    weights = np.array([batch_size(batch) for batch in errors.batches], dtype=np.float64)
    weights /= weights.sum()
    pooled = {
        id(layer): _pool_moments([batch[i] for batch in by_batch], weights)
        for i, layer in enumerate(moving)
    }
    return [pooled.get(id(layer)) for layer in layers]


def _single_batch_statistics(errors: ModeErrors, batch: Batch, layers: Sequence[Any]) -> list[Any]:
    """Mean and variance of one batch for each layer, read off after an update from zero."""
    for layer in layers:
        _assign_statistics(layer, [np.zeros(v.shape) for v in _moving_variables(layer)])
    errors.update_statistics(batch)
    return [
        tuple(v.numpy() / max(1.0 - layer.momentum, 1e-12) for v in _moving_variables(layer))
        for layer in layers
    ]


def _pool_moments(batches: Sequence[tuple[Any, Any]], weights: Any) -> tuple[Any, Any] | None:
    means = np.array([mean for mean, _ in batches], dtype=np.float64)
    variances = np.array([variance for _, variance in batches], dtype=np.float64)
    if not variances.any():
        return None
    mean = np.tensordot(weights, means, axes=1)
    spread = np.tensordot(weights, (means - mean) ** 2, axes=1)
    return mean, np.tensordot(weights, variances, axes=1) + spread
