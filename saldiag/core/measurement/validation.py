"""Measurements of validation: errors in both modes, running statistics, data compared."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from saldiag.core.measurement.base import Array, Measurement


@dataclass(frozen=True)
class StatisticsRow:
    """One BatchNormalization layer: its moving statistics beside those of training batches."""

    path: str
    """Path of the layer."""
    momentum: float
    """Share of a moving statistic that one training step keeps, in [0, 1]."""
    variance_ratio: float
    """Moving variance divided by the variance in training batches; median over the channels."""
    mean_distance: float
    """|moving mean - mean in training batches| in standard deviations; median over channels."""
    excess: float
    """|moving variance - variance| / variance in training batches; median over the channels."""


@dataclass(frozen=True)
class InputComparison:
    """One input of the model: training items compared with validation items."""

    name: str
    """Path in a nested structure of inputs; empty for a single input."""
    shape: tuple[int, ...]
    """Shape of a training item."""
    validation_shape: tuple[int, ...]
    """Shape of a validation item."""
    mean: tuple[float, ...]
    """Mean of each channel (last axis, at most 16; one number where there are more) in training."""
    std: tuple[float, ...]
    """Standard deviation of each channel in training."""
    validation_mean: tuple[float, ...]
    """Mean of each channel in validation."""
    validation_std: tuple[float, ...]
    """Standard deviation of each channel in validation."""


@dataclass(frozen=True)
class Correction:
    """A change of the validation inputs or targets, and the error of the model with it."""

    kind: str
    """``inputs`` or ``targets``."""
    change: str
    """The change as code, with ``x`` for the inputs and ``y`` for the targets."""
    error: float
    """Error on the validation items with the change, in units of the loss."""
    input: str = ""
    """Name of the changed input; empty for a single input and for targets."""


@dataclass(frozen=True)
class ActedCallback:
    """A callback of ``fit`` that stopped training or kept weights by a validation metric."""

    kind: str
    """Name of its class."""
    monitor: str
    """Name of the metric it monitors."""
    stopped: int | None
    """Epoch, from 1, after which it stopped the training; None if it did not."""
    kept: int | None
    """Epoch, from 1, whose weights it kept; None if it keeps none."""


@dataclass(frozen=True)
class ValidationCheck(Measurement):
    """Errors during one training on some of its validation and training items, in both modes.

    K checks, the last after the last epoch. N validation items: the first that ``fit`` itself drew.
    The last check uses all of them if time allows; checks during the training use the first batch.
    Errors are the compiled loss, recomputed from the predictions, without regularization.
    BatchNormalization's statistics are re-estimated from training batches ("precise BN", Wu &
    Johnson, Rethinking "Batch" in BatchNorm, 2021).
    """

    key: ClassVar[str] = "validation"
    position: ClassVar[int] = 23
    loss: str
    """Name of the loss, which is the unit of all errors."""
    items: int
    """Number of validation items in the checks (N)."""
    training_items: int
    """Number of training items in the checks."""
    checked: Array
    """Epoch of each check (K), from 1."""
    steps: Array
    """Training steps taken before each check (K)."""
    inference: Array
    """Error on the validation items in inference mode (K)."""
    training: Array
    """Error on the validation items in training mode (K)."""
    reestimated: Array
    """Error on the validation items in inference mode with statistics re-estimated (K); NaN if no
    BatchNormalization layer updates its statistics."""
    train_inference: Array
    """Error on the training items in inference mode (K); NaN for a check during the training."""
    train_training: Array
    """Error on the training items in training mode (K); NaN as above."""
    train_reestimated: Array
    """Error on the training items with statistics re-estimated (K); NaN as above, and without
    BatchNormalization."""
    item_errors: Array = field(default_factory=lambda: np.zeros(0))
    """Error of each validation item in inference mode at the last check (N); empty if the loss is
    not defined per item, or if the last check was made during the training."""
    reestimated_item_errors: Array = field(default_factory=lambda: np.zeros(0))
    """The same with statistics re-estimated (N); empty without BatchNormalization."""
    train_item_errors: Array = field(default_factory=lambda: np.zeros(0))
    """Error of each training item in inference mode at the last check, with or without re-estimated
    statistics, whichever is better."""
    statistics: tuple[StatisticsRow, ...] = ()
    """BatchNormalization layers that update their statistics, in the order of the forward pass."""
    weight_scale: float = 1.0
    """Error of the training items without weights divided by their error with the weights of
    ``fit`` (``class_weight``, ``sample_weight``); 1 without weights. All errors here are
    unweighted, because validation items have different weights or none."""
    repeat_difference: float = float("nan")
    """Mean |difference| between the predictions of two inference passes over the same items,
    divided by their standard deviation; 0 for a deterministic model, NaN if not measured."""
    averaged: float = float("nan")
    """Error of the mean of several inference passes over the first validation batch; NaN if two
    passes agree."""
    single: float = float("nan")
    """Mean error of the single passes; NaN as above."""
    company_difference: float = float("nan")
    """As ``repeat_difference``, for a second pass in which each item shares its batch with other
    items."""
    active: tuple[str, ...] = ()
    """Paths of the layers that draw random numbers or use batch statistics in inference mode."""
    inputs: tuple[InputComparison, ...] = ()
    """Training inputs compared with validation inputs; empty unless the validation error does not
    follow the training error."""
    corrections: tuple[Correction, ...] = ()
    """Changes of validation inputs or targets that were tried; empty as above."""
    mapped_accuracy: float = float("nan")
    """Accuracy on the validation items after the best permutation of predicted classes; NaN without
    classes."""
    accuracy: float = float("nan")
    """Accuracy on the validation items; NaN without classes."""
    mapping: tuple[tuple[int, int], ...] = ()
    """That permutation, as pairs (predicted class, label) that differ."""
    paired_with_own: float = float("nan")
    """Share of validation predictions and targets that are each other's nearest neighbour and
    belong to the same item; NaN if a target has fewer than eight numbers."""
    paired_with_other: float = float("nan")
    """Share of those that are each other's nearest neighbour and belong to different items."""
    callbacks: tuple[ActedCallback, ...] = ()
    """Callbacks that acted on a validation metric."""
    seconds: float = 0.0
    """Seconds spent on the checks before the last."""
    last_seconds: float = 0.0
    """Seconds spent on the last check of each call of ``fit``."""
    training_seconds: float = 0.0
    """Seconds from the start of the training to its end."""
    validated: int = 0
    """Approximate number of items in a whole validation; 0 if unknown."""
