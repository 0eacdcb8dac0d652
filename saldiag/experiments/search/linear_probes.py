"""Linear probes: how well each layer's output predicts the targets, and the layer's gradient.

A linear probe (Alain & Bengio, Understanding intermediate layers using linear classifier probes,
2016) shows where information is lost. The probe then replaces everything after the layer: the
gradient that the layer's own weights receive from it shows whether the layer itself or what follows
blocks training.
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
from saldiag.experiments.interventions.batch_transforms import join_batches
from saldiag.experiments.interventions.change import Swap
from saldiag.experiments.interventions.targets import output_targets
from saldiag.experiments.search.lab import Lab
from saldiag.keras_internals.layers import child_layers, is_keras_layer
from saldiag_probes.state.isolation import preserved_state

FOLDS = 5
"""Folds of the cross-validation. Folds split items: positions of one image are not independent."""
MIN_ITEMS = 20
"""Items below which no probe is fitted."""
MAX_ROWS = 4096
"""Rows that a probe is fitted to, chosen at random from more."""
RIDGE_DAMPING = 1e-2
"""Strength of the ridge penalty, as a multiple of the features' mean square."""


def probe_layers(lab: Lab) -> tuple[LayerLook, ...]:
    """Probe every layer in inference mode, in the order of their first calls.

    The model is left unchanged. Empty for fewer than ``MIN_ITEMS`` items; a layer whose output is
    not a float tensor (items, …, features) is left out.

    Raises:
        NotApplicable: there are no targets.
    """
    whole = join_batches(lab.batches)
    target = _target_columns(output_targets(lab)[0])
    if lab.items < MIN_ITEMS:
        return ()
    with preserved_state(lab.model), ExitStack() as stack, tf.GradientTape(persistent=True) as tape:
        seen: dict[str, Any] = {}
        for path, layer in _leaf_layers(lab.model, lab.paths):
            stack.callback(
                Swap(layer, "call", _recording_call(layer, path, seen), tracked=False).swap_in()
            )
        lab.model(keras.tree.map_structure(tf.convert_to_tensor, whole[0]), training=False)
        probed = {path: _fit_probe(output, target) for path, output in seen.items()}
    layers = {path: layer for path, layer in lab.layers.items() if path in probed}
    return tuple(
        _layer_look(path, layers[path], found, tape) for path, found in probed.items() if found
    )


def _leaf_layers(layer: Any, paths: dict[int, str]) -> Iterator[tuple[str, Any]]:
    """Path and layer of each Keras layer, and of each other layer without sublayers."""
    inside = child_layers(layer)
    if is_keras_layer(layer) or (not inside and layer is not None):
        yield paths[id(layer)], layer
        return
    for each in inside:
        yield from _leaf_layers(each, paths)


def _recording_call(layer: Any, path: str, seen: dict[str, Any]) -> Any:
    """A ``call`` that stores the layer's first output in ``seen``."""
    call = layer.call

    def call_and_record(*args: Any, **kwargs: Any) -> Any:
        output = call(*args, **kwargs)
        seen.setdefault(path, output)
        return output

    return call_and_record


def _target_columns(target: Array) -> Array:
    """Targets as float64 (items, …, columns); class indices become one column per class."""
    if target.ndim == 1:
        target = target[:, None]
    values = np.unique(target)
    if np.issubdtype(target.dtype, np.integer) and target.shape[-1] == 1 and 2 < len(values) < 64:
        return np.asarray((target == values).astype(np.float64))
    return target.astype(np.float64)


def _fit_probe(output: Any, target: Array) -> tuple[float, int, Any] | None:
    """The probe's score, the number of features, and the squared error as a tensor.

    None where the output cannot be probed.
    """
    if not isinstance(output, tf.Tensor) or not output.dtype.is_floating or output.ndim < 2:
        return None
    features, targets, items = _probe_rows(tf.cast(output, tf.float32), target)
    if len(features) < MIN_ITEMS:
        return None
    values = features.numpy().astype(np.float64)
    # The features that vary most, at most one for four items: more would fit any targets.
    keep = np.argsort(-values.std(axis=0))[: max(1, len(np.unique(items)) // 4)]
    weights, bias = fit_ridge(values[:, keep], targets)
    predicted = tf.gather(features, keep, axis=1) @ tf.constant(weights, tf.float32) + bias
    loss = tf.reduce_mean(tf.square(predicted - targets.astype(np.float32)))
    return cross_validated_score(values[:, keep], targets, items), values.shape[1], loss


def _probe_rows(output: Any, target: Array) -> tuple[Any, Array, Array]:
    """Features (rows, features), targets (rows, columns), and the number of each row's item.

    Where both are maps and the target's sides are multiples of the output's, a row is a position;
    otherwise a row is an item, averaged over all positions.
    """
    count, sides = len(target), tuple(output.shape[1:-1])
    if target.ndim == output.ndim == 4 and all(
        there % here == 0 for there, here in zip(target.shape[1:3], sides, strict=True)
    ):
        rows = tf.reshape(output, (-1, output.shape[-1]))
        targets = _average_fields(target, sides)
        items = np.repeat(np.arange(count), len(targets) // count)
        chosen = np.random.default_rng(0).permutation(len(targets))[:MAX_ROWS]
        return tf.gather(rows, chosen), targets[chosen], items[chosen]
    pooled = tf.reduce_mean(output, axis=tuple(range(1, output.ndim - 1)))
    targets = target.mean(axis=tuple(range(1, target.ndim - 1)))
    return pooled, targets, np.arange(count)


def _average_fields(target: Array, sides: tuple[int, ...]) -> Array:
    """A map (N, H, W, C) averaged down to ``sides``, flattened: (N · height · width, C)."""
    (count, rows, columns, depth), (height, width) = target.shape, sides
    shape = (count, height, rows // height, width, columns // width, depth)
    return np.asarray(target.reshape(shape).mean(axis=(2, 4)).reshape(-1, depth))


def fit_ridge(features: Array, targets: Array) -> tuple[Array, Array]:
    """Fit a ridge regression.

    Args:
        features: (rows, features).
        targets: (rows, columns).

    Returns:
        Weights (features, columns) and bias (columns,).
    """
    mean = features.mean(axis=0)
    centred = features - mean
    damping = RIDGE_DAMPING * np.mean(centred**2) * len(centred) + 1e-12
    gram = centred.T @ centred + damping * np.eye(centred.shape[1])
    weights = np.linalg.solve(gram, centred.T @ (targets - targets.mean(axis=0)))
    return weights, targets.mean(axis=0) - mean @ weights


def cross_validated_score(features: Array, targets: Array, items: Array) -> float:
    """R² of the probe on items that it was not fitted to; nan if the targets do not vary.

    Args:
        features: (rows, features).
        targets: (rows, columns).
        items: (rows,), the number of each row's item.
    """
    residuals = np.zeros_like(targets)
    baseline = np.zeros_like(targets)
    for fold in range(FOLDS):
        held_out = items % FOLDS == fold
        weights, bias = fit_ridge(features[~held_out], targets[~held_out])
        residuals[held_out] = targets[held_out] - features[held_out] @ weights - bias
        baseline[held_out] = targets[held_out] - targets[~held_out].mean(axis=0)
    variation = float(np.sum(baseline**2))
    return 1.0 - float(np.sum(residuals**2)) / variation if variation > 0 else float("nan")


def _layer_look(path: str, layer: Any, probe: tuple[float, int, Any], tape: Any) -> LayerLook:
    """The measured row of one layer; ``tape`` has recorded the forward pass and the probes."""
    information, features, loss = probe
    gradients = [g for g in tape.gradient(loss, list(layer.trainable_variables)) if g is not None]
    norm = float(tf.linalg.global_norm(gradients)) if gradients else None
    return LayerLook(path, type(layer).__name__, information, features, norm)
