"""Changes of validation inputs or targets that may bring the error down to that of training.

A change that makes the same weights right on the same items is a proof, where statistics of the two
data sets only differ.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from scipy.optimize import linear_sum_assignment

from saldiag.core.measurement import Array, Correction, InputComparison
from saldiag.experiments.overfit.mode_errors import Batch, ModeErrors, batch_size
from saldiag_probes.loss.compiled_loss import overrides_compute_loss, standalone_loss

CHANNELS = 16
"""Channels of an input that are compared one by one."""
APART = 0.5
"""Distance of means in standard deviations, or |log2| of the ratio of standard deviations, from
which on changes of the scale are tried; three standard errors over items are added."""
FEWEST_NUMBERS = 8
"""Numbers in a target from which on predictions can be told to belong to another item."""

Change = Callable[[Array], Array]

SCALES: tuple[tuple[str, Change], ...] = (
    ("x * 255", lambda x: x * 255),
    ("x / 255", lambda x: x / 255),
    ("x / 127.5 - 1", lambda x: x / 127.5 - 1),
    ("(x + 1) * 127.5", lambda x: (x + 1) * 127.5),
    ("2 * x - 1", lambda x: 2 * x - 1),
    ("(x + 1) / 2", lambda x: (x + 1) / 2),
)
RESCALING = ("y / 255", "y * 255", "(y + 1) / 2", "2 * y - 1", "np.log(y)", "np.exp(y)")
"""Changes of numbers that are tried only if they bring them to the scale of training."""
TARGETS: tuple[tuple[str, Change], ...] = (
    ("np.log(y)", lambda y: np.log(np.maximum(y, 1e-12))),
    ("np.exp(y)", lambda y: np.exp(np.minimum(y, 80))),
    ("y / 255", lambda y: y / 255),
    ("y * 255", lambda y: y * 255),
    ("1 - y", lambda y: 1 - y),
    ("(y + 1) / 2", lambda y: (y + 1) / 2),
    ("2 * y - 1", lambda y: 2 * y - 1),
    ("y - 1", lambda y: y - 1),
    ("y + 1", lambda y: y + 1),
    ("np.roll(y, 1, axis=0)", lambda y: np.roll(y, 1, axis=0)),
    ("np.roll(y, -1, axis=0)", lambda y: np.roll(y, -1, axis=0)),
    ("y[::-1]", lambda y: y[::-1]),
)


class Corrections:
    """Compares the data of training and validation, and tries changes of the latter.

    Args:
        errors: predicts and measures the error.
        training: training batches.
        validation: validation batches.
        predictions: of the validation batches, in inference mode.
    """

    def __init__(
        self,
        errors: ModeErrors,
        training: Sequence[Batch],
        validation: Sequence[Batch],
        predictions: Sequence[Any],
    ) -> None:
        self._errors, self._validation = errors, validation
        self._parts = (training, validation)
        self._inputs = _compared(training, validation)
        self._predictions = _whole(predictions)
        self._targets = _whole([batch[1] for batch in validation if len(batch) > 1])
        self._known = _whole([batch[1] for batch in training if len(batch) > 1])
        self._loss = None if overrides_compute_loss(errors.model) else standalone_loss(errors.model)

    def found(self) -> dict[str, Any]:
        """Fields of ``ValidationCheck``."""
        return {
            "inputs": self._inputs,
            "corrections": (*self._of_inputs(), *self._of_targets()),
            **self._classes(),
            **self._pairing(),
        }

    def _of_inputs(self) -> Iterator[Correction]:
        least = _least_distance(*(sum(map(batch_size, part)) for part in self._parts))
        for found in self._inputs:
            for name, change in _input_changes(found, least):
                error = _attempted(partial(self._error_with, change, found.name))
                if math.isfinite(error):
                    yield Correction("inputs", name, error, found.name)

    def _error_with(self, change: Change, name: str) -> float:
        batches = [_changed(batch, change, name) for batch in self._validation]
        return self._errors.on(batches).error(training=False)

    def _possible(self, changed: Array) -> bool:
        """Whether class numbers are whole and in range; TensorFlow prints a warning otherwise."""
        targets, classes = self._targets, self._predictions.shape[-1]
        numbered = targets.dtype.kind in "iu" or (
            _class_numbers(targets, self._predictions) is not None
            and targets.shape != self._predictions.shape
        )
        if not numbered:
            return True
        whole = bool((changed == np.round(changed)).all())
        return whole and changed.min() >= 0 and changed.max() < max(2, classes)

    def _error_against(self, targets: Array) -> float:
        assert self._loss is not None
        return float(self._loss(tf.constant(targets), tf.constant(self._predictions)))

    def _of_targets(self) -> Iterator[Correction]:
        targets = self._targets
        if self._loss is None or not isinstance(targets, np.ndarray):
            return
        if not isinstance(self._predictions, np.ndarray) or targets.dtype.kind not in "iufb":
            return
        scaled = _scaled_otherwise(targets, self._known)
        for name, change in (*_target_changes(targets, self._known), *TARGETS):
            changed = change(targets.astype(np.float64))
            rescales = scaled is not None and name in RESCALING
            if rescales and (not scaled or _scaled_otherwise(changed, self._known)):
                continue  # smaller targets have smaller errors, whatever is predicted
            if not self._possible(changed):
                continue
            if _binary(targets) and not ((changed >= 0) & (changed <= 1)).all():
                continue
            error = _attempted(partial(self._error_against, changed.astype(targets.dtype)))
            if math.isfinite(error):
                yield Correction("targets", name, error)

    def _classes(self) -> dict[str, Any]:
        """Accuracy as it is, and after the best renaming of the predicted classes."""
        labels = _class_numbers(self._targets, self._predictions)
        if labels is None:
            return {}
        scores = np.asarray(self._predictions)
        predicted = _predicted_classes(scores)
        count = int(max(labels.max(), predicted.max())) + 1
        if count > 200 or len(labels) < 2 * count:
            return {}
        confusion = np.zeros((count, count))
        np.add.at(confusion, (predicted, labels), 1)
        rows, columns = linear_sum_assignment(-confusion)
        names = [
            (int(i), int(j))
            for i, j in zip(rows, columns, strict=True)
            if i != j and confusion[i, j]
        ]
        return {
            "accuracy": float((predicted == labels).mean()),
            "mapped_accuracy": float(confusion[rows, columns].sum() / len(labels)),
            "mapping": tuple(names),
        }

    def _pairing(self) -> dict[str, float]:
        """Whether each prediction is nearest to its own target, or to another item's."""
        p, y = self._predictions, self._targets
        if not (isinstance(p, np.ndarray) and isinstance(y, np.ndarray)) or p.shape != y.shape:
            return {}
        flat_p, flat_y = (_standardised(a.reshape(len(a), -1)) for a in (p, y))
        if flat_p.shape[1] < FEWEST_NUMBERS or len(flat_p) < FEWEST_NUMBERS:
            return {}
        squares = (flat_p**2).sum(1)[:, None] + (flat_y**2).sum(1)[None]
        distance = squares - 2 * flat_p @ flat_y.T
        nearest, back = distance.argmin(1), distance.argmin(0)
        places = np.arange(len(p))
        mutual = back[nearest] == places
        own = nearest == places
        return {
            "paired_with_own": float((mutual & own).mean()),
            "paired_with_other": float((mutual & ~own).mean()),
        }


def _standardised(rows: Array) -> Array:
    """Rows with mean 0 and standard deviation 1: logits are on another scale than their masks."""
    rows = rows.astype(np.float64)
    rows = rows - rows.mean(1, keepdims=True)
    return np.asarray(rows / np.maximum(rows.std(1, keepdims=True), 1e-12))


def _attempted(error: Callable[[], float]) -> float:
    """The error; nan where the model or its loss does not take the changed data."""
    try:
        return error()
    except Exception:  # whatever the user's model or loss raises
        return math.nan


def _binary(targets: Array) -> bool:
    return bool(((targets >= 0) & (targets <= 1)).all())


def _whole(parts: Sequence[Any]) -> Any:
    """The items of several batches as one nest of arrays; None where there are none."""
    if not parts:
        return None
    try:
        return keras.tree.map_structure(
            lambda *leaves: np.concatenate([np.asarray(leaf) for leaf in leaves]), *parts
        )
    except (ValueError, TypeError):  # items of different shapes
        return None


def _compared(
    training: Sequence[Batch], validation: Sequence[Batch]
) -> tuple[InputComparison, ...]:
    one, other = _whole([b[0] for b in training]), _whole([b[0] for b in validation])
    if one is None or other is None:
        return ()
    paths = keras.tree.flatten_with_path(one)
    others = dict(keras.tree.flatten_with_path(other))
    return tuple(
        _comparison(_name(path), leaf, others[path])
        for path, leaf in paths
        if path in others and leaf.dtype.kind in "fiu" and leaf.ndim > 1
    )


def _comparison(name: str, one: Array, other: Array) -> InputComparison:
    return InputComparison(
        name, tuple(one.shape[1:]), tuple(other.shape[1:]), *_moments(one), *_moments(other)
    )


def _moments(values: Array) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, or of all numbers of one axis or a wide one."""
    values = values.astype(np.float64)
    wide = values.ndim < 2 or values.shape[-1] > CHANNELS
    flat = values.reshape(-1, 1 if wide else values.shape[-1])
    flat = np.where(np.isfinite(flat), flat, np.nan)
    mean, std = np.nanmean(flat, axis=0), np.nanstd(flat, axis=0)
    return tuple(map(float, mean)), tuple(map(float, std))


def _input_changes(found: InputComparison, least: float) -> Iterator[tuple[str, Change]]:
    """Changes that would make validation inputs look like training inputs.

    ``least``: distance of the moments from which on scales are tried.
    """
    if _resizable(found):
        height, width = found.shape[:2]
        yield (
            f"tf.image.resize(x, ({height}, {width}))",
            lambda x: np.asarray(tf.image.resize(x, (height, width))),
        )
    if found.shape != found.validation_shape:
        return
    mean, std, of_mean, of_std = (
        np.array(v) for v in (found.mean, found.std, found.validation_mean, found.validation_std)
    )
    if _apart(mean, std, of_mean, of_std, least):
        yield from SCALES
        safe = np.maximum(of_std, 1e-12)
        yield (
            "(x - x.mean()) / x.std(), as for training",
            lambda x: (x - of_mean) / safe * std + mean,
        )
    if len(found.shape) == 3 and found.shape[-1] == 3:
        yield "x[..., ::-1]", lambda x: x[..., ::-1]


def _resizable(found: InputComparison) -> bool:
    return (
        len(found.shape) == 3
        and found.shape[-1] == found.validation_shape[-1]
        and found.shape != found.validation_shape
    )


def _least_distance(*items: int) -> float:
    """``APART`` and three standard errors of the moments of so many items, of the fewest."""
    return APART + 3 / math.sqrt(max(1, min(items)))


def _apart(mean: Array, std: Array, of_mean: Array, of_std: Array, least: float) -> bool:
    shift = np.abs(mean - of_mean) / np.maximum(std, 1e-12)
    ratio = np.abs(np.log2(np.maximum(of_std, 1e-12) / np.maximum(std, 1e-12)))
    return bool((shift > least).any() or (ratio > least).any())


def _scaled_otherwise(targets: Array, known: Any) -> bool | None:
    """Whether numbers have another scale than training's; None for class numbers."""
    if not isinstance(known, np.ndarray) or targets.dtype.kind != "f":
        return None
    if known.dtype.kind not in "iuf" or known.shape[1:][-1:] != targets.shape[1:][-1:]:
        return None
    mean, std, of_mean, of_std = map(np.array, (*_moments(known), *_moments(targets)))
    return _apart(mean, std, of_mean, of_std, _least_distance(len(known), len(targets)))


def _target_changes(targets: Array, known: Any) -> Iterator[tuple[str, Change]]:
    """Training's mean and standard deviation for numbers that are on another scale."""
    if _binary(targets) or not _scaled_otherwise(targets, known):
        return
    (mean, std), (of_mean, of_std) = (map(np.array, _moments(a)) for a in (known, targets))
    safe = np.maximum(of_std, 1e-12)
    yield (
        "(y - y.mean()) / y.std(), as for training",
        lambda y: (y - of_mean) / safe * std + mean,
    )


def _changed(batch: Batch, change: Change, name: str) -> Batch:
    """The batch with the input of that name changed."""

    def leaf(path: tuple[Any, ...], value: Any) -> Any:
        if _name(path) != name:
            return value
        array = np.asarray(value)
        return tf.constant(change(array.astype(np.float64)).astype(array.dtype))

    leaves = [leaf(path, value) for path, value in keras.tree.flatten_with_path(batch[0])]
    return (keras.tree.pack_sequence_as(batch[0], leaves), *batch[1:])


def _name(path: tuple[Any, ...]) -> str:
    return "/".join(map(str, path))


def _class_numbers(targets: Any, predictions: Any) -> Array | None:
    """Labels as class numbers (N,); None where the model does not classify."""
    if not (isinstance(targets, np.ndarray) and isinstance(predictions, np.ndarray)):
        return None
    if predictions.ndim != 2 or targets.dtype.kind not in "iufb":
        return None
    if targets.ndim == 2 and targets.shape == predictions.shape and targets.shape[1] > 1:
        one_hot = ((targets == 0) | (targets == 1)).all() and (targets.sum(1) == 1).all()
        return targets.argmax(1) if one_hot else None
    flat = targets.reshape(len(targets), -1)
    if flat.shape[1] != 1 or not (flat == np.round(flat)).all() or flat.min() < 0:
        return None
    labels = flat[:, 0].astype(np.int64)
    classes = predictions.shape[1] if predictions.shape[1] > 1 else 2
    return labels if labels.max() < classes else None


def _predicted_classes(scores: Array) -> Array:
    if scores.shape[1] > 1:
        return np.asarray(scores.argmax(1))
    # One unit: probabilities lie in [0, 1], logits around 0.
    middle = 0.5 if scores.min() >= 0 and scores.max() <= 1 else 0.0
    return np.asarray((scores[:, 0] > middle).astype(np.int64))
