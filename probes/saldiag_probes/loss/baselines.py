"""The loss of the best predictions that ignore the input."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from saldiag.core.keras_types import KerasLoss, KerasModel
from saldiag.core.measurement import Array, Baselines
from saldiag_probes.loss.compiled_loss import (
    loss_config,
    loss_name,
    overrides_compute_loss,
    standalone_loss,
)
from saldiag_probes.state.isolation import preserved_random_state
from saldiag_probes.trace.errors import error_summary

PROBABILITY_EPSILON = 1e-7
"""Keras' cross-entropies clip probabilities to this distance from 0 and 1."""


class NoBaselines(Exception):  # noqa: N818 - a normal outcome
    """The loss cannot be evaluated on plain predictions; the message is the reason."""


def best_blind_predictions(model: KerasModel, batches: list[tuple[Any, Any, Any]]) -> Baselines:
    """The best constant and the best fixed prediction under the model's compiled loss.

    Candidates are the mean and the median of the targets: over all elements for the constant, over
    the samples for each element for the fixed prediction. If targets are class indices, they are
    equal probabilities and the classes' frequencies. Probabilities are converted to logits if the
    loss takes logits.

    Args:
        model: compiled with one loss for one output.
        batches: targets, predictions (for their shape only) and sample weights of each batch.

    Raises:
        NoBaselines: with the reason in one line.
    """
    loss = _checked_loss(model, batches)
    targets = [np.asarray(y) for y, _, _ in batches]
    shapes = [tuple(y_pred.shape) for _, y_pred, _ in batches]
    weights = [weight for _, _, weight in batches]
    if not all(np.isfinite(target).all() for target in targets):
        raise NoBaselines("the targets contain non-finite values")
    if "sparse" in loss_name(model):
        candidates = _class_candidates(targets, shapes)
    else:
        candidates = _value_candidates(targets, shapes)
    link = _link_function(model)

    def mean_loss(prediction: Array) -> float:
        sizes = [len(target) for target in targets]
        costs = [
            _evaluate_loss(loss, target, np.broadcast_to(link(prediction), shape), weight)
            for target, shape, weight in zip(targets, shapes, weights, strict=True)
        ]
        return float(np.average(costs, weights=sizes))

    with preserved_random_state():
        evaluated = [(kind, value, mean_loss(value)) for kind, value in candidates]
    constants = [entry for entry in evaluated if entry[1].ndim == 0]
    fixed = [entry for entry in evaluated if entry[1].ndim > 0]
    _, value, constant = min(constants, key=_sortable_cost)
    kind, _, independent = (
        min(fixed, key=_sortable_cost) if fixed else ("none", value, float("nan"))
    )
    return Baselines(loss_name(model), constant, float(value), independent, kind)


def _sortable_cost(entry: tuple[str, Array, float]) -> float:
    return entry[2] if np.isfinite(entry[2]) else float("inf")


def _checked_loss(model: KerasModel, batches: list[tuple[Any, Any, Any]]) -> Any:
    """The compiled loss, if it can be evaluated on plain predictions."""
    if overrides_compute_loss(model):
        raise NoBaselines("the model overrides compute_loss")
    loss = standalone_loss(model)
    if loss is None:
        raise NoBaselines("the model is not compiled with a loss")
    for y, y_pred, _ in batches:
        if keras.tree.is_nested(y) or keras.tree.is_nested(y_pred):
            raise NoBaselines("the model has several outputs")
        if not all(isinstance(tensor, tf.Tensor) for tensor in (y, y_pred)):
            raise NoBaselines("targets or predictions are missing, or are ragged or sparse")
    return loss


def _evaluate_loss(loss: KerasLoss, target: Array, prediction: Array, weight: Any) -> float:
    try:
        value = loss(tf.constant(target), tf.constant(prediction, tf.float32), weight)
    except Exception as error:
        raise NoBaselines(f"the loss cannot be evaluated: {error_summary(error)}") from error
    return float(tf.reduce_mean(value))


def _value_candidates(
    targets: list[Array], shapes: list[tuple[int, ...]]
) -> Iterator[tuple[str, Array]]:
    """Mean and median over all elements, then over the samples."""
    matched = [_match_shape(target, shape) for target, shape in zip(targets, shapes, strict=True)]
    everything = np.concatenate([target.ravel() for target in matched]).astype(np.float64)
    yield "mean", np.asarray(everything.mean())
    yield "median", np.asarray(np.median(everything))
    if len({target.shape[1:] for target in matched}) == 1:
        samples = np.concatenate(matched).astype(np.float64)
        # With one number per sample the mean has no axis left, but it is no constant over elements.
        yield "mean", np.atleast_1d(samples.mean(axis=0))
        yield "median", np.atleast_1d(np.median(samples, axis=0))


def _match_shape(target: Array, shape: tuple[int, ...]) -> Array:
    """The target in the shape of the predictions, as Keras' losses reshape it."""
    if target.shape == shape:
        return target
    if target.ndim + 1 == len(shape) and shape[-1] == 1:
        return target[..., None]
    if target.ndim == len(shape) + 1 and target.shape[-1] == 1:
        return target[..., 0]
    raise NoBaselines(f"targets of shape {target.shape[1:]} do not match the predictions' shape")


def _class_candidates(
    targets: list[Array], shapes: list[tuple[int, ...]]
) -> Iterator[tuple[str, Array]]:
    """Equal probabilities, then the classes' frequencies."""
    classes = shapes[0][-1]
    labels = np.concatenate([target.ravel() for target in targets]).astype(np.int64)
    if labels.min(initial=0) < 0 or labels.max(initial=0) >= classes:
        raise NoBaselines(f"a target is outside the classes 0 to {classes - 1}")
    yield "uniform", np.asarray(1.0 / classes)
    yield "frequencies", np.bincount(labels, minlength=classes) / len(labels)


def _link_function(model: KerasModel) -> Any:
    """The function from probabilities to what the loss takes: identity, log or logit."""
    if not loss_config(model).get("from_logits"):
        return lambda p: p
    if "categorical" in loss_name(model):
        return lambda p: np.log(np.clip(p, PROBABILITY_EPSILON, 1.0))
    return lambda p: (
        np.log(np.clip(p, PROBABILITY_EPSILON, 1 - PROBABILITY_EPSILON))
        - np.log1p(-np.clip(p, PROBABILITY_EPSILON, 1 - PROBABILITY_EPSILON))
    )
