"""The score of predictions: one scale for every loss, on which 0 is the best constant.

Losses cannot be compared once an experiment changes the loss. The share of the targets' variation
that predictions explain can: for numbers it is the coefficient of determination R², for classes the
Brier skill score (Murphy, Hedging and skill scores for probability forecasts, 1973).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from saldiag.core.keras_types import KerasModel
from saldiag.core.measurement import Array
from saldiag_probes.loss.compiled_loss import compiled_losses

MAX_CLASSES = 20_000
"""One-hot targets of more classes would not fit into memory."""


class CannotScore(Exception):  # noqa: N818 - a normal outcome
    """Targets and predictions cannot be compared; the message is the reason."""


@dataclass(frozen=True)
class Score:
    """How well predictions reproduce the targets, averaged over the outputs."""

    value: float
    """Share of the targets' variation that is explained: 1 is perfect, 0 the best constant."""
    error: float
    """Mean absolute error in the targets' unit."""
    missed: Array
    """(items,): each item's squared error over the targets' variance; ``value`` is 1 minus the
    mean."""


def score_predictions(
    model: KerasModel, batches: Sequence[tuple[Any, ...]], predictions: Sequence[Any]
) -> Score:
    """Score predictions against the targets; every output counts equally.

    Args:
        model: the compiled model, whose losses tell logits from probabilities.
        batches: ``(x, y, …)`` each.
        predictions: the model's output for each batch, in its own structure.

    Raises:
        CannotScore: there are no targets, they do not vary, or their shapes do not match.
    """
    links = [_link_of_loss(loss) for loss in compiled_losses(model)]
    pairs = [
        _target_prediction_pairs(batch, predicted, links)
        for batch, predicted in zip(batches, predictions, strict=True)
    ]
    by_output = [
        _score_output(
            np.concatenate([y for y, _ in output]), np.concatenate([p for _, p in output])
        )
        for output in zip(*pairs, strict=True)
    ]
    values, errors, missed = zip(*by_output, strict=True)
    return Score(float(np.mean(values)), float(np.mean(errors)), np.mean(missed, axis=0))


def _score_output(y: Array, p: Array) -> tuple[float, float, Array]:
    """Score, mean absolute error, missed (items,) of one output; ``y``, ``p``: (items, values)."""
    with np.errstate(over="ignore", invalid="ignore"):
        variation = float(np.mean((y - y.mean(axis=0)) ** 2))
        if not variation > 1e-12:
            raise CannotScore("the targets are the same for every sample")
        missed = np.mean((y - p) ** 2, axis=1) / variation
        return 1.0 - float(missed.mean()), float(np.mean(np.abs(y - p))), missed


def _target_prediction_pairs(
    batch: tuple[Any, ...], predicted: Any, links: Sequence[str]
) -> list[tuple[Array, Array]]:
    if len(batch) < 2 or batch[1] is None:
        raise CannotScore("there are no targets")
    targets = [np.asarray(part) for part in keras.tree.flatten(batch[1])]
    outputs = [np.asarray(part) for part in keras.tree.flatten(predicted)]
    if len(targets) != len(outputs):
        raise CannotScore(f"there are {len(targets)} targets for {len(outputs)} outputs")
    links = links if len(links) == len(targets) else [*links[:1]] * len(targets) or [""]
    return [_align_shapes(*three) for three in zip(targets, outputs, links, strict=True)]


def _align_shapes(y: Array, p: Array, link: str) -> tuple[Array, Array]:
    """Target and prediction as (items, values) on the same scale."""
    p = p.astype(np.float64)
    if y.size == p.size:
        target = y.astype(np.float64).reshape(p.shape)
    elif _are_class_scores(y, p):
        target = _one_hot(y, p.shape[-1]).reshape(p.shape)
    else:
        raise CannotScore(
            f"targets have shape {y.shape[1:]} per sample, predictions have {p.shape[1:]}"
        )
    if link == "hinge":
        target, p = np.where(target > 0, 1.0, -1.0), np.clip(p, -1.0, 1.0)
    elif link:
        p = _apply_link(p, link)
    return target.reshape(len(p), -1), p.reshape(len(p), -1)


def _are_class_scores(y: Array, p: Array) -> bool:
    return p.ndim >= 2 and y.size * p.shape[-1] == p.size and 1 < p.shape[-1] <= MAX_CLASSES


def _one_hot(y: Array, classes: int) -> Array:
    labels = y.astype(np.int64).ravel()
    hot = np.zeros((labels.size, classes))
    known = (labels >= 0) & (labels < classes)
    hot[np.flatnonzero(known), labels[known]] = 1.0
    return hot


def _apply_link(logits: Array, link: str) -> Array:
    with np.errstate(over="ignore", invalid="ignore"):
        if link == "sigmoid":
            return np.asarray(1.0 / (1.0 + np.exp(-np.clip(logits, -500, 500))))
        shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))


def _link_of_loss(loss: Any) -> str:
    """Which link turns the predictions of this loss into the targets' scale; empty for none.

    ``sigmoid`` and ``softmax`` for losses on logits, ``hinge`` for targets of ±1.
    """
    name = str(getattr(loss, "name", getattr(loss, "__name__", "")))
    if "hinge" in name and "categorical" not in name:
        return "hinge"
    settings = loss.get_config() if isinstance(loss, keras.losses.Loss) else {}
    if not settings.get("from_logits"):
        return ""
    return "softmax" if "categorical" in name else "sigmoid"
