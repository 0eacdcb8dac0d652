"""How much of what there is to learn a model says: one scale for every loss.

Losses cannot be compared once an experiment changes the loss. The share of the targets' variation
that predictions reproduce can: for numbers it is the coefficient of determination, for classes the
Brier skill score (Murphy, Hedging and skill scores for probability forecasts, 1973).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from saldiag.core.measurement import Array
from saldiag_probes.loss.compiled_loss import compiled_losses

MOST_CLASSES = 20_000
"""One-hot targets of more classes do not fit into memory."""


class CannotScore(Exception):  # noqa: N818 - a normal outcome
    """Targets and predictions cannot be compared; the message is the reason."""


@dataclass(frozen=True)
class Score:
    """``value`` as in ``Curve.score``, ``error`` the mean absolute error, ``missed`` by item."""

    value: float
    error: float
    missed: Array


def score(model: Any, batches: Sequence[tuple[Any, ...]], predictions: Sequence[Any]) -> Score:
    """Compare predictions (one structure a batch, as the model gives them) with the targets.

    Of several outputs those with a target count, each the same.

    Raises:
        CannotScore: there are no targets, they do not vary, or their shapes say nothing.
    """
    links = [_link(loss) for loss in compiled_losses(model)]
    pairs = [_pairs(batch, found, links) for batch, found in zip(batches, predictions, strict=True)]
    parts = [
        _part(np.concatenate([y for y, _ in output]), np.concatenate([p for _, p in output]))
        for output in zip(*pairs, strict=True)
    ]
    values, errors, missed = zip(*parts, strict=True)
    return Score(float(np.mean(values)), float(np.mean(errors)), np.mean(missed, axis=0))


def _part(y: Array, p: Array) -> tuple[float, float, Array]:
    """Of one output, both (items, values): the score, the mean absolute error, missed by item."""
    with np.errstate(over="ignore", invalid="ignore"):
        variation = float(np.mean((y - y.mean(axis=0)) ** 2))
        if not variation > 1e-12:
            raise CannotScore("the targets are the same for every item")
        missed = np.mean((y - p) ** 2, axis=1) / variation
        return 1.0 - float(missed.mean()), float(np.mean(np.abs(y - p))), missed


def _pairs(batch: tuple[Any, ...], found: Any, links: Sequence[str]) -> list[tuple[Array, Array]]:
    if len(batch) < 2 or batch[1] is None:
        raise CannotScore("there are no targets")
    targets = [np.asarray(part) for part in keras.tree.flatten(batch[1])]
    outputs = [np.asarray(part) for part in keras.tree.flatten(found)]
    if len(targets) != len(outputs):
        raise CannotScore(f"there are {len(targets)} targets for {len(outputs)} outputs")
    links = links if len(links) == len(targets) else [*links[:1]] * len(targets) or [""]
    return [_aligned(*three) for three in zip(targets, outputs, links, strict=True)]


def _aligned(y: Array, p: Array, link: str) -> tuple[Array, Array]:
    """Target and prediction as (items, values) of the same scale."""
    p = p.astype(np.float64)
    if y.size == p.size:
        target = y.astype(np.float64).reshape(p.shape)
    elif _of_classes(y, p):
        target = _one_hot(y, p.shape[-1]).reshape(p.shape)
    else:
        raise CannotScore(
            f"targets of shape {y.shape[1:]} are not of the predictions' {p.shape[1:]}"
        )
    if link == "hinge":
        target, p = np.where(target > 0, 1.0, -1.0), np.clip(p, -1.0, 1.0)
    elif link:
        p = _probabilities(p, link)
    return target.reshape(len(p), -1), p.reshape(len(p), -1)


def _of_classes(y: Array, p: Array) -> bool:
    return p.ndim >= 2 and y.size * p.shape[-1] == p.size and 1 < p.shape[-1] <= MOST_CLASSES


def _one_hot(y: Array, classes: int) -> Array:
    labels = y.astype(np.int64).ravel()
    hot = np.zeros((labels.size, classes))
    known = (labels >= 0) & (labels < classes)
    hot[np.flatnonzero(known), labels[known]] = 1.0
    return hot


def _probabilities(logits: Array, link: str) -> Array:
    with np.errstate(over="ignore", invalid="ignore"):
        if link == "sigmoid":
            return np.asarray(1.0 / (1.0 + np.exp(-np.clip(logits, -500, 500))))
        shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))


def _link(loss: Any) -> str:
    """From what the loss is told that it gets, to probabilities or sides."""
    name = str(getattr(loss, "name", getattr(loss, "__name__", "")))
    if "hinge" in name and "categorical" not in name:
        return "hinge"
    settings = loss.get_config() if isinstance(loss, keras.losses.Loss) else {}
    if not settings.get("from_logits"):
        return ""
    return "softmax" if "categorical" in name else "sigmoid"
