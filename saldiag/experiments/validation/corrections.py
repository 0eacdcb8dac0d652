"""Changes of validation inputs or targets that may lower the error to that of training.

A change with which the same weights are right on the same items is proof of a fault in the data,
while differing statistics of the two data sets are only a hint.
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

MAX_CHANNELS = 16
"""Most channels of an input that are compared one by one; more are pooled."""
MIN_MOMENT_DISTANCE = 0.5
"""Distance of means in standard deviations, or |log2| of the ratio of standard deviations, from
which on rescaling is tried; three standard errors over the items are added."""
MIN_TARGET_NUMBERS = 8
"""Fewest numbers per target, and fewest items, for matching predictions with other items' targets.
"""

ArrayChange = Callable[[Array], Array]
"""From an array (items, …) to the changed one."""

INPUT_SCALINGS: tuple[tuple[str, ArrayChange], ...] = (
    ("x * 255", lambda x: x * 255),
    ("x / 255", lambda x: x / 255),
    ("x / 127.5 - 1", lambda x: x / 127.5 - 1),
    ("(x + 1) * 127.5", lambda x: (x + 1) * 127.5),
    ("2 * x - 1", lambda x: 2 * x - 1),
    ("(x + 1) / 2", lambda x: (x + 1) / 2),
)
"""Changes of inputs, as code and as a function."""
RESCALING_CHANGES = ("y / 255", "y * 255", "(y + 1) / 2", "2 * y - 1", "np.log(y)", "np.exp(y)")
"""Changes of numeric targets that are tried only if they lead to the scale of training."""
TARGET_CHANGES: tuple[tuple[str, ArrayChange], ...] = (
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
    """Compares training data with validation data and tries changes of the latter.

    Args:
        errors: measures the model's error.
        training: training batches.
        validation: validation batches.
        predictions: predictions for the validation batches in inference mode.
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
        self._inputs = _compare_inputs(training, validation)
        self._predictions = _concatenate_batches(predictions)
        self._targets = _concatenate_batches([batch[1] for batch in validation if len(batch) > 1])
        self._training_targets = _concatenate_batches(
            [batch[1] for batch in training if len(batch) > 1]
        )
        self._loss = None if overrides_compute_loss(errors.model) else standalone_loss(errors.model)

    def find_corrections(self) -> dict[str, Any]:
        """The resulting fields of ``ValidationCheck`` by name."""
        return {
            "inputs": self._inputs,
            "corrections": (*self._try_input_changes(), *self._try_target_changes()),
            **self._class_fields(),
            **self._pairing_fields(),
        }

    def _try_input_changes(self) -> Iterator[Correction]:
        least = _min_tested_distance(*(sum(map(batch_size, part)) for part in self._parts))
        for found in self._inputs:
            for name, change in _input_changes(found, least):
                error = _error_or_nan(partial(self._error_with, change, found.name))
                if math.isfinite(error):
                    yield Correction("inputs", name, error, found.name)

    def _error_with(self, change: ArrayChange, name: str) -> float:
        batches = [_change_input(batch, change, name) for batch in self._validation]
        return self._errors.on_batches(batches).error(training=False)

    def _keeps_classes_valid(self, changed: Array) -> bool:
        """Whether changed class indices are integers in range; TensorFlow warns otherwise."""
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

    def _try_target_changes(self) -> Iterator[Correction]:
        targets = self._targets
        if self._loss is None or not isinstance(targets, np.ndarray):
            return
        if not isinstance(self._predictions, np.ndarray) or targets.dtype.kind not in "iufb":
            return
        scaled = _has_other_scale(targets, self._training_targets)
        for name, change in (*_target_changes(targets, self._training_targets), *TARGET_CHANGES):
            changed = change(targets.astype(np.float64))
            rescales = scaled is not None and name in RESCALING_CHANGES
            if rescales and (not scaled or _has_other_scale(changed, self._training_targets)):
                continue  # smaller targets have smaller errors, whatever the model predicts
            if not self._keeps_classes_valid(changed):
                continue
            if _in_unit_range(targets) and not ((changed >= 0) & (changed <= 1)).all():
                continue
            error = _error_or_nan(partial(self._error_against, changed.astype(targets.dtype)))
            if math.isfinite(error):
                yield Correction("targets", name, error)

    def _class_fields(self) -> dict[str, Any]:
        """Accuracy, and accuracy after the best permutation of the predicted classes."""
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

    def _pairing_fields(self) -> dict[str, float]:
        """Shares of predictions that match their own target best, or another item's.

        Matches are mutual nearest neighbours of standardised rows.
        """
        p, y = self._predictions, self._targets
        if not (isinstance(p, np.ndarray) and isinstance(y, np.ndarray)) or p.shape != y.shape:
            return {}
        flat_p, flat_y = (_standardise_rows(a.reshape(len(a), -1)) for a in (p, y))
        if flat_p.shape[1] < MIN_TARGET_NUMBERS or len(flat_p) < MIN_TARGET_NUMBERS:
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


def _standardise_rows(rows: Array) -> Array:
    """Rows scaled to mean 0 and standard deviation 1: logits and masks differ in scale."""
    rows = rows.astype(np.float64)
    rows = rows - rows.mean(1, keepdims=True)
    return np.asarray(rows / np.maximum(rows.std(1, keepdims=True), 1e-12))


def _error_or_nan(error: Callable[[], float]) -> float:
    """The error; nan if the model or its loss rejects the changed data."""
    try:
        return error()
    except Exception:  # whatever the user's model or loss raises
        return math.nan


def _in_unit_range(targets: Array) -> bool:
    return bool(((targets >= 0) & (targets <= 1)).all())


def _concatenate_batches(parts: Sequence[Any]) -> Any:
    """The items of several batches as one nest of arrays; None if that is not possible."""
    if not parts:
        return None
    try:
        return keras.tree.map_structure(
            lambda *leaves: np.concatenate([np.asarray(change_leaf) for change_leaf in leaves]),
            *parts,
        )
    except (ValueError, TypeError):  # items of different shapes
        return None


def _compare_inputs(
    training: Sequence[Batch], validation: Sequence[Batch]
) -> tuple[InputComparison, ...]:
    one, other = (
        _concatenate_batches([b[0] for b in training]),
        _concatenate_batches([b[0] for b in validation]),
    )
    if one is None or other is None:
        return ()
    paths = keras.tree.flatten_with_path(one)
    others = dict(keras.tree.flatten_with_path(other))
    return tuple(
        _compare_input(_path_name(path), change_leaf, others[path])
        for path, change_leaf in paths
        if path in others and change_leaf.dtype.kind in "fiu" and change_leaf.ndim > 1
    )


def _compare_input(name: str, one: Array, other: Array) -> InputComparison:
    return InputComparison(
        name,
        tuple(one.shape[1:]),
        tuple(other.shape[1:]),
        *_channel_moments(one),
        *_channel_moments(other),
    )


def _channel_moments(values: Array) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel; over all numbers if there are too many channels."""
    values = values.astype(np.float64)
    wide = values.ndim < 2 or values.shape[-1] > MAX_CHANNELS
    flat = values.reshape(-1, 1 if wide else values.shape[-1])
    flat = np.where(np.isfinite(flat), flat, np.nan)
    mean, std = np.nanmean(flat, axis=0), np.nanstd(flat, axis=0)
    return tuple(map(float, mean)), tuple(map(float, std))


def _input_changes(found: InputComparison, least: float) -> Iterator[tuple[str, ArrayChange]]:
    """Changes that would make validation inputs look like training inputs, as code and function.

    Args:
        found: the comparison of one input.
        least: distance of the moments from which on rescaling is tried.
    """
    if _is_resizable(found):
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
    if _moments_differ(mean, std, of_mean, of_std, least):
        yield from INPUT_SCALINGS
        safe = np.maximum(of_std, 1e-12)
        yield (
            "(x - x.mean()) / x.std(), as for training",
            lambda x: (x - of_mean) / safe * std + mean,
        )
    if len(found.shape) == 3 and found.shape[-1] == 3:
        yield "x[..., ::-1]", lambda x: x[..., ::-1]


def _is_resizable(found: InputComparison) -> bool:
    return (
        len(found.shape) == 3
        and found.shape[-1] == found.validation_shape[-1]
        and found.shape != found.validation_shape
    )


def _min_tested_distance(*items: int) -> float:
    """``MIN_MOMENT_DISTANCE`` plus three standard errors, for the smaller number of items."""
    return MIN_MOMENT_DISTANCE + 3 / math.sqrt(max(1, min(items)))


def _moments_differ(mean: Array, std: Array, of_mean: Array, of_std: Array, least: float) -> bool:
    shift = np.abs(mean - of_mean) / np.maximum(std, 1e-12)
    ratio = np.abs(np.log2(np.maximum(of_std, 1e-12) / np.maximum(std, 1e-12)))
    return bool((shift > least).any() or (ratio > least).any())


def _has_other_scale(targets: Array, known: Any) -> bool | None:
    """Whether numeric targets have another scale than those of training; None for classes."""
    if not isinstance(known, np.ndarray) or targets.dtype.kind != "f":
        return None
    if known.dtype.kind not in "iuf" or known.shape[1:][-1:] != targets.shape[1:][-1:]:
        return None
    mean, std, of_mean, of_std = map(
        np.array, (*_channel_moments(known), *_channel_moments(targets))
    )
    return _moments_differ(
        mean, std, of_mean, of_std, _min_tested_distance(len(known), len(targets))
    )


def _target_changes(targets: Array, known: Any) -> Iterator[tuple[str, ArrayChange]]:
    """The change to training's mean and standard deviation, for numbers on another scale."""
    if _in_unit_range(targets) or not _has_other_scale(targets, known):
        return
    (mean, std), (of_mean, of_std) = (map(np.array, _channel_moments(a)) for a in (known, targets))
    safe = np.maximum(of_std, 1e-12)
    yield (
        "(y - y.mean()) / y.std(), as for training",
        lambda y: (y - of_mean) / safe * std + mean,
    )


def _change_input(batch: Batch, change: ArrayChange, name: str) -> Batch:
    """The batch with one input changed; ``name`` is its path in the nest of inputs."""

    def change_leaf(path: tuple[Any, ...], value: Any) -> Any:
        if _path_name(path) != name:
            return value
        array = np.asarray(value)
        return tf.constant(change(array.astype(np.float64)).astype(array.dtype))

    leaves = [change_leaf(path, value) for path, value in keras.tree.flatten_with_path(batch[0])]
    return (keras.tree.pack_sequence_as(batch[0], leaves), *batch[1:])


def _path_name(path: tuple[Any, ...]) -> str:
    return "/".join(map(str, path))


def _class_numbers(targets: Any, predictions: Any) -> Array | None:
    """Targets as class indices (N,); None if the model does not classify."""
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
