"""Of validation: errors in both modes, BatchNorm's statistics, its data against training data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from saldiag.core.measurement.base import Array, Measurement


@dataclass(frozen=True)
class StatisticsRow:
    """One BatchNorm layer: its moving statistics against those of training batches."""

    path: str
    """Path of the layer."""
    momentum: float
    """Share of a moving statistic that one training step keeps, in [0, 1]."""
    variance_ratio: float
    """Moving variance over the variance in training batches; median over the channels."""
    mean_distance: float
    """|moving mean - mean in training batches| in standard deviations; median over channels."""
    excess: float
    """|moving variance - variance| / variance in training batches; median over the channels."""


@dataclass(frozen=True)
class InputComparison:
    """One input of the model: training items against validation items."""

    name: str
    """Path of the input in a nest of inputs; empty for a single one."""
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
    """Name of the input that is changed, of several; empty where there is one, and for targets."""


@dataclass(frozen=True)
class ActedCallback:
    """A callback of ``fit`` that ended the training, or kept weights, by a validation metric."""

    kind: str
    """Name of its class."""
    monitor: str
    """What it monitors."""
    stopped: int | None
    """Epoch, from 1, after which it ended the training; None if it did not."""
    kept: int | None
    """Epoch, from 1, whose weights it kept; None if it keeps none."""


@dataclass(frozen=True)
class ValidationCheck(Measurement):
    """Errors of one training on a few of its validation and training items, in both modes.

    K checks over the training, the last after its last epoch. N validation items: the first that
    ``fit`` itself drew; the last check is made on all of them as far as time allows, checks during
    the training on the first batch. Errors are the compiled loss, recomputed from the
    predictions, without regularisation. Statistics are re-estimated from training batches
    ("precise BN", Wu & Johnson, Rethinking "Batch" in BatchNorm, 2021).
    """

    key: ClassVar[str] = "validation"
    loss: str
    """Name of the loss, in whose unit all errors are."""
    items: int
    """N, validation items in the checks."""
    training_items: int
    """Training items in the checks."""
    checked: Array
    """Epochs (K), from 1, after which both modes were measured."""
    steps: Array
    """Training steps taken at each check (K)."""
    inference: Array
    """Error on the validation items in inference mode (K)."""
    training: Array
    """Error on the validation items in training mode (K)."""
    reestimated: Array
    """Error on the validation items in inference mode with BatchNorm's statistics re-estimated
    (K); nan where no BatchNorm updates its statistics."""
    train_inference: Array
    """Error on the training items in inference mode (K)."""
    train_training: Array
    """Error on the training items in training mode (K)."""
    train_reestimated: Array
    """Error on the training items with BatchNorm's statistics re-estimated (K)."""
    item_errors: Array = field(default_factory=lambda: np.zeros(0))
    """Error of each validation item in inference mode at the last check (N); empty where the loss
    does not take items one by one, and where the last check was made during the training."""
    reestimated_item_errors: Array = field(default_factory=lambda: np.zeros(0))
    """The same with the statistics re-estimated (N); empty without BatchNorm."""
    train_item_errors: Array = field(default_factory=lambda: np.zeros(0))
    """Error of each training item at the last check, in the better of both ways of inference."""
    statistics: tuple[StatisticsRow, ...] = ()
    """BatchNorm layers that update their statistics, in the order of the forward pass."""
    weight_scale: float = 1.0
    """Error of the training items without weights over their error with the weights that ``fit``
    gives them (``class_weight``, ``sample_weight``); 1 without weights. All errors here are
    without: validation items have other weights, or none."""
    repeat_difference: float = float("nan")
    """Mean |difference| of the predictions of two inference passes over the same items, as a share
    of their standard deviation; 0 for a deterministic model."""
    averaged: float = float("nan")
    """Error of the mean of several inference passes over the first validation batch; nan where two
    passes agree."""
    single: float = float("nan")
    """Mean error of the single passes."""
    company_difference: float = float("nan")
    """The same for a pass in which each item shares its batch with other items."""
    active: tuple[str, ...] = ()
    """Layers that draw random numbers, or normalise with the batch, in inference mode too."""
    inputs: tuple[InputComparison, ...] = ()
    """Training inputs against validation inputs; empty unless validation does not follow."""
    corrections: tuple[Correction, ...] = ()
    """Changes of validation inputs or targets that were tried; empty unless validation does not
    follow."""
    mapped_accuracy: float = float("nan")
    """Accuracy on the validation items after the best renaming of predicted classes; nan where
    there are no classes."""
    accuracy: float = float("nan")
    """Accuracy on the validation items."""
    mapping: tuple[tuple[int, int], ...] = ()
    """That renaming, as pairs (predicted class, label) that differ."""
    paired_with_own: float = float("nan")
    """Share of validation predictions and targets that are each other's nearest and belong to the
    same item; nan where targets have fewer than eight numbers."""
    paired_with_other: float = float("nan")
    """Share of those that are each other's nearest and belong to different items."""
    callbacks: tuple[ActedCallback, ...] = ()
    """Callbacks that acted on a validation metric."""
    seconds: float = 0.0
    """Time spent on the checks before the last."""
    last_seconds: float = 0.0
    """Time spent on the last check of each call of ``fit``."""
    training_seconds: float = 0.0
    """Time from the begin of the training to its end."""
    validated: int = 0
    """Items of a whole validation, about; 0 if unknown."""
