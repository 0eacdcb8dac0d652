"""How far the replicas' copies of the variables are apart."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np

from saldiag.core.keras_types import KerasModel, KerasOptimizer
from saldiag.core.measurement import Array, StateSpread
from saldiag.keras_internals.layers import flattened_layers
from saldiag.keras_internals.variables import raw_variable
from saldiag_probes.trace.paths import layer_paths, variable_paths

_OF_ONE_REPLICA = ("gradient_accumulator",)
"""Parts of the names of optimizer variables that hold a replica's own values by design."""


def state_spread(
    strategy: Any, model: KerasModel, optimizers: Iterable[KerasOptimizer], items: float
) -> tuple[StateSpread, ...]:
    """The spread of each trainable weight, BatchNorm layer and optimizer variable.

    Args:
        strategy: the strategy that made the copies.
        model: the model.
        optimizers: its optimizers.
        items: number of items that a replica reads in a step; NaN if unknown.
    """
    return (
        *_weights(strategy, model),
        *_statistics(strategy, model, items),
        *_slots(strategy, optimizers),
    )


def replica_copies(strategy: Any, variable: Any) -> list[Array]:
    """The value of a variable in each replica of this process."""
    copies = strategy.experimental_local_results(raw_variable(variable))
    return [np.asarray(copy.numpy(), np.float64) for copy in copies]


def _weights(strategy: Any, model: KerasModel) -> Iterator[StateSpread]:
    paths = variable_paths(model)
    for variable in model.trainable_variables:
        copies = replica_copies(strategy, variable)
        if len(copies) > 1:
            path = paths.get(id(variable), ("", variable.path))[1]
            yield StateSpread(path, "weight", _relative_difference(copies))


def _slots(strategy: Any, optimizers: Iterable[KerasOptimizer]) -> Iterator[StateSpread]:
    for optimizer in optimizers:
        for variable in optimizer.variables:
            if any(part in variable.path for part in _OF_ONE_REPLICA):
                continue
            copies = replica_copies(strategy, variable)
            if len(copies) > 1:
                yield StateSpread(variable.path, "slot", _relative_difference(copies))


def _statistics(strategy: Any, model: KerasModel, items: float) -> Iterator[StateSpread]:
    paths = layer_paths(model)
    for layer in flattened_layers(model):
        if not isinstance(layer, keras.layers.BatchNormalization) or not layer.built:
            continue
        means = replica_copies(strategy, layer.moving_mean)
        variances = replica_copies(strategy, layer.moving_variance)
        if len(means) > 1:
            path = paths.get(id(layer), layer.name)
            distance = _statistics_distance(means, variances)
            yield StateSpread(path, "statistic", distance, _mean_noise(layer.momentum, items))


def _relative_difference(copies: list[Array]) -> float:
    if not all(np.isfinite(copy).all() for copy in copies):
        same = all(np.array_equal(copies[0], copy, equal_nan=True) for copy in copies)
        return 0.0 if same else float("inf")
    largest = max(float(np.abs(copy - copies[0]).max(initial=0.0)) for copy in copies)
    scale = float(np.sqrt(np.mean(np.square(copies)))) if copies[0].size else 0.0
    if largest == 0.0:
        return 0.0
    return largest / scale if scale else float("inf")


def _statistics_distance(means: list[Array], variances: list[Array]) -> float:
    """The largest distance in moving standard deviations; infinite if a copy is not finite."""
    if not all(np.isfinite(copy).all() for copy in [*means, *variances]):
        return float("inf")
    deviations = np.sqrt(np.maximum(np.mean(variances, axis=0), np.finfo(np.float32).tiny))
    return float((np.ptp(means, axis=0) / deviations).max(initial=0.0))


def _mean_noise(momentum: float, items: float) -> float:
    """Standard deviation of the distance of two moving means, in standard deviations of an item.

    A moving average with momentum m of independent means of n items has the variance
    (1 - m) / (1 + m) / n.
    """
    if not items >= 1 or not 0 <= momentum < 1:
        return 0.0
    return float(np.sqrt(2 * (1 - momentum) / (1 + momentum) / items))
