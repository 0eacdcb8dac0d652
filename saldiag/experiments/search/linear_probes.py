"""Looks at each layer that repair nothing: what it still knows of the targets, and its gradient.

A linear probe (Alain & Bengio, Understanding intermediate layers using linear classifier probes,
2016) tells where information is lost. What follows a layer is then replaced by its probe: the
gradient that the layer's own weights get from there tells whether the layer or what follows holds
it up.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from saldiag.core.measurement import Array
from saldiag.core.measurement.experiments import LayerLook
from saldiag.experiments.interventions.batch_transforms import joined
from saldiag.experiments.interventions.change import Swap
from saldiag.experiments.interventions.targets import targets_of
from saldiag.keras_internals.layers import child_layers, is_keras_layer
from saldiag_probes.state.isolation import undisturbed

FOLDS = 5
"""Of the cross-validation, by items: places of one picture depend on each other."""
FEWEST = 20
"""Items, under which a probe says nothing."""
MOST_ROWS = 4096
DAMPING = 1e-2
"""Of the ridge, times the mean square of a feature."""


def look(lab: Any) -> tuple[LayerLook, ...]:
    """Every layer in the order of its first call, in inference mode; all is left as it was.

    Raises:
        NotApplicable: there are no targets.
    """
    whole = joined(lab.batches)
    target = _columns(targets_of(lab)[0])
    if lab.items < FEWEST:
        return ()
    with undisturbed(lab.model), ExitStack() as stack, tf.GradientTape(persistent=True) as tape:
        seen: dict[str, Any] = {}
        for path, layer in _leaves(lab.model, lab.paths):
            stack.callback(Swap(layer, "call", _noting(layer, path, seen), tracked=False).make())
        lab.model(keras.tree.map_structure(tf.convert_to_tensor, whole[0]), training=False)
        probed = {path: _probed(output, target) for path, output in seen.items()}
    layers = {path: layer for path, layer in lab.layers.items() if path in probed}
    return tuple(_told(path, layers[path], found, tape) for path, found in probed.items() if found)


def _leaves(layer: Any, paths: dict[int, str]) -> Iterator[tuple[str, Any]]:
    """Layers that Keras has or that hold no others; what is inside a layer of Keras' is its own."""
    inside = child_layers(layer)
    if is_keras_layer(layer) or (not inside and layer is not None):
        yield paths[id(layer)], layer
        return
    for each in inside:
        yield from _leaves(each, paths)


def _noting(layer: Any, path: str, seen: dict[str, Any]) -> Any:
    call = layer.call

    def noting(*given: Any, **named: Any) -> Any:
        found = call(*given, **named)
        seen.setdefault(path, found)
        return found

    return noting


def _columns(target: Array) -> Array:
    """Targets as numbers, classes as one column each: (items, …, columns)."""
    if target.ndim == 1:
        target = target[:, None]
    values = np.unique(target)
    if np.issubdtype(target.dtype, np.integer) and target.shape[-1] == 1 and 2 < len(values) < 64:
        return np.asarray((target == values).astype(np.float64))
    return target.astype(np.float64)


def _probed(output: Any, target: Array) -> tuple[float, int, Any] | None:
    """Score of the probe, number of features, and the loss if the probe follows the layer."""
    if not isinstance(output, tf.Tensor) or not output.dtype.is_floating or output.ndim < 2:
        return None
    features, wanted, items = _rows(tf.cast(output, tf.float32), target)
    if len(features) < FEWEST:
        return None
    values = features.numpy().astype(np.float64)
    keep = np.argsort(-values.std(axis=0))[: max(1, len(np.unique(items)) // 4)]
    weights, bias = ridge(values[:, keep], wanted)
    said = tf.gather(features, keep, axis=1) @ tf.constant(weights, tf.float32) + bias
    loss = tf.reduce_mean(tf.square(said - wanted.astype(np.float32)))
    return validated(values[:, keep], wanted, items), values.shape[1], loss


def _rows(output: Any, target: Array) -> tuple[Any, Array, Array]:
    """Features (rows, features), targets (rows, columns), and the item of each row.

    A row is a place where both are maps and the places of one are fields of the other's; else an
    item, averaged over all places.
    """
    count, places = len(target), tuple(output.shape[1:-1])
    if target.ndim == output.ndim == 4 and all(
        there % here == 0 for there, here in zip(target.shape[1:3], places, strict=True)
    ):
        rows = tf.reshape(output, (-1, output.shape[-1]))
        wanted = _fields(target, places)
        items = np.repeat(np.arange(count), len(wanted) // count)
        chosen = np.random.default_rng(0).permutation(len(wanted))[:MOST_ROWS]
        return tf.gather(rows, chosen), wanted[chosen], items[chosen]
    pooled = tf.reduce_mean(output, axis=tuple(range(1, output.ndim - 1)))
    wanted = target.mean(axis=tuple(range(1, target.ndim - 1)))
    return pooled, wanted, np.arange(count)


def _fields(target: Array, places: tuple[int, ...]) -> Array:
    """A map (N, H, W, C) averaged over fields: (N · height · width, C)."""
    (count, rows, columns, depth), (height, width) = target.shape, places
    shape = (count, height, rows // height, width, columns // width, depth)
    return np.asarray(target.reshape(shape).mean(axis=(2, 4)).reshape(-1, depth))


def ridge(features: Array, wanted: Array) -> tuple[Array, Array]:
    """Weights (features, columns) and bias (columns,) of a ridge regression."""
    mean = features.mean(axis=0)
    centred = features - mean
    damping = DAMPING * np.mean(centred**2) * len(centred) + 1e-12
    gram = centred.T @ centred + damping * np.eye(centred.shape[1])
    weights = np.linalg.solve(gram, centred.T @ (wanted - wanted.mean(axis=0)))
    return weights, wanted.mean(axis=0) - mean @ weights


def validated(features: Array, wanted: Array, items: Array) -> float:
    """The share of the targets' variation that the probe says of items it was not fitted to."""
    missed = np.zeros_like(wanted)
    baseline = np.zeros_like(wanted)
    for fold in range(FOLDS):
        out = items % FOLDS == fold
        weights, bias = ridge(features[~out], wanted[~out])
        missed[out] = wanted[out] - features[out] @ weights - bias
        baseline[out] = wanted[out] - wanted[~out].mean(axis=0)
    variation = float(np.sum(baseline**2))
    return 1.0 - float(np.sum(missed**2)) / variation if variation > 0 else float("nan")


def _told(path: str, layer: Any, found: tuple[float, int, Any], tape: Any) -> LayerLook:
    information, features, loss = found
    gradients = [g for g in tape.gradient(loss, list(layer.trainable_variables)) if g is not None]
    norm = float(tf.linalg.global_norm(gradients)) if gradients else None
    return LayerLook(path, type(layer).__name__, information, features, norm)
