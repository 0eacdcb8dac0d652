"""Measurements of training: gradients by step, trainability, the overfit test, curves by epoch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from saldiag.core.measurement.base import Array, Measurement


@dataclass(frozen=True)
class VariableInfo:
    """A variable that the optimizer receives gradients for."""

    path: str
    """Path of the variable: its layer's path and its own name."""
    layer: str
    """Path of its layer; empty for a variable of no layer."""
    shape: tuple[int, ...]
    """Shape of the variable."""
    dtype: str
    """Name of its dtype."""


@dataclass(frozen=True)
class GradientHistory(Measurement):
    """Gradients and updates in the training graph: T recorded steps, V variables.

    Gradients are those before clipping. With a loss scale, values are unscaled. A row of a variable
    is NaN at a step at which it has no gradient.
    """

    key: ClassVar[str] = "gradients"
    position: ClassVar[int] = 2
    variables: tuple[VariableInfo, ...]
    """The variables (V), in the model's order."""
    steps: Array
    """Recorded steps (T), from 0."""
    norm: Array
    """L2 norm of the gradient (T, V); infinite if an element is not finite."""
    mean: Array
    """Mean of |gradient| (T, V); infinite if an element is not finite."""
    maximum: Array
    """Largest |gradient| (T, V); infinite if an element is not finite."""
    zero_share: Array
    """Share of the gradient's elements that are exactly 0 (T, V), in [0, 1]."""
    nonfinite_share: Array
    """Share of the gradient's elements that are NaN or infinite (T, V), in [0, 1]."""
    update_ratio: Array
    """Update-to-weight ratio |Δw| / |w| of the step that the optimizer took (T, V); infinite if a
    variable of zeros moves."""
    weight_norm: Array
    """L2 norm of the variable before the step (T, V)."""
    loss_scale: Array
    """Factor on the loss at the step (T); 1 without loss scaling."""
    loss: Array
    """Loss of the step's batch in training mode (T); NaN if unknown."""
    dropped_steps: int = 0
    """Measured steps that were overwritten before they were read."""


@dataclass(frozen=True)
class TrainableRow:
    """One variable of the model: whether it is declared trainable, and whether it trains."""

    path: str
    """Path of the variable."""
    layer: str
    """Path of its layer; empty for a variable of no layer."""
    kind: str
    """Class name of its layer."""
    role: str
    """The variable's own name (``kernel``, ``gamma``, ``moving_mean``, ...)."""
    size: int
    """Number of elements."""
    layer_flag: bool
    """``trainable`` of its layer."""
    parents_flag: bool
    """Whether ``trainable`` is set on all layers above, the model included."""
    variable_flag: bool
    """``trainable`` of the variable itself."""
    in_layer: bool
    """Whether the *parent* of its layer lists it among its trainable weights."""
    in_model: bool
    """Whether the model lists it among its trainable weights."""
    in_optimizer: bool | None
    """Whether the optimizer was built for it; None if no optimizer is built."""
    has_gradient: bool | None
    """Whether it received a gradient; None if no step was taken."""
    changed: bool | None
    """Whether a training step changed its value; None if no step was taken or it was not
    observed."""
    start_distance: float = float("nan")
    """Kolmogorov-Smirnov distance between its values and the distribution of the layer's
    initializer, times the square root of their number (critical value 1.63 at the 1 % level, Massey
    1951). For a constant initializer 0 or infinite; infinite if it is known to be loaded or
    trained; NaN if the distribution is unknown."""
    watched: bool = True
    """``trainable`` of the ``tf.Variable`` behind it, which decides whether a ``GradientTape``
    watches it."""


@dataclass(frozen=True)
class NormalizationRow:
    """One BatchNormalization layer."""

    path: str
    """Path of the layer."""
    trainable: bool
    """Its ``trainable`` flag."""
    training_mode: bool | None
    """Whether it normalizes with the batch's moments while the model trains; None if unknown."""
    momentum: float
    """Share of a moving statistic that one training step keeps, in [0, 1]."""
    at_start: bool
    """Whether gamma, beta and both moving statistics still have their initial values."""


@dataclass(frozen=True)
class TrainableStatus(Measurement):
    """Which variables are declared trainable, and which train."""

    key: ClassVar[str] = "trainable"
    position: ClassVar[int] = 5
    rows: tuple[TrainableRow, ...]
    """One row for each weight of the model, trainable or not."""
    normalization: tuple[NormalizationRow, ...]
    """One row for each BatchNormalization layer."""
    parameters: int
    """Number of elements in all weights of the model."""
    trainable_parameters: int
    """Number of elements in its trainable weights."""


@dataclass(frozen=True)
class OverfitHistory(Measurement):
    """The overfit test: T training steps on a few items, K checks of the error in both modes.

    Errors are the loss, recomputed from plain predictions on all memorised items.
    """

    key: ClassVar[str] = "overfit"
    position: ClassVar[int] = 9
    metric: str
    """Name of the loss, in whose unit all errors are."""
    items: int
    """Number of items to memorise."""
    subset_items: int
    """Size of the subset that they were taken from."""
    batch_size: int
    """Items in a batch."""
    image_size: int | None
    """Height and width in pixels that images were resized to; None if they were not."""
    steps: Array
    """Numbers of the training steps (T), from 1."""
    loss: Array
    """Loss that ``fit`` reports for each step's batch (T)."""
    checked: Array
    """Steps taken before each check (K); 0 is before the first step."""
    training_error: Array
    """Error in training mode at each check (K)."""
    inference_error: Array
    """Error in inference mode at each check (K)."""
    recalibrated_error: float
    """Error in inference mode at the end, after BatchNormalization's running statistics were
    re-estimated on a copy from the same items; NaN if not measured."""
    baseline_constant: float
    """Error of the best single number, ``Baselines.constant``."""
    baseline_independent: float
    """Error of the best fixed prediction, ``Baselines.independent``."""
    prediction_variation: float
    """Standard deviation across the samples of the inference predictions at the end, divided by
    the overall one; 0 if they are the same for all items, NaN if the test did not end."""
    no_gradient: bool
    """Whether no trainable variable receives a gradient (zero up to rounding error, or None)."""
    stopped: str
    """Why it ended: ``memorised``, ``no gradient``, ``budget``, ``steps``, ``interrupted`` or
    ``non-finite``."""
    budget_seconds: float
    """Time limit in seconds, from the end of the first step."""
    max_steps: int
    """Limit on the number of steps."""
    validation_error: float = float("nan")
    """Error in inference mode at the end on items that were not memorised; NaN if not measured."""
    rate_growth: float = float("nan")
    """Learning rate at the end divided by that after half of the checks; NaN if unknown."""
    metric_names: tuple[str, ...] = ()
    """Names of the numbers that ``fit`` reports (M)."""
    metric_values: Array = field(default_factory=lambda: np.zeros((0, 0)))
    """What ``fit`` reports for each step's batch (T, M)."""
    moved_share: float = float("nan")
    """Share of the trainable variables that the test changed, in [0, 1]; NaN if no step was
    taken."""


@dataclass(frozen=True)
class RangeTest(Measurement):
    """Learning rate range test over the memorised items: T passes, each at a higher rate.

    It ends early when the loss diverges or is not finite.
    """

    key: ClassVar[str] = "range"
    position: ClassVar[int] = 17
    rates: Array
    """Learning rates (T), evenly spaced on a logarithmic scale."""
    loss: Array
    """Mean loss of the steps in the pass at each rate (T)."""


@dataclass(frozen=True)
class Histograms(Measurement):
    """H histograms of weights, gradients and activations at some steps, with B bins each."""

    key: ClassVar[str] = "histograms"
    position: ClassVar[int] = 11
    names: tuple[str, ...]
    """``weights/PATH``, ``gradients/PATH`` or ``activations/PATH`` for each histogram (H)."""
    steps: Array
    """Step of each histogram (H)."""
    counts: Array
    """Number of elements in each bin (H, B)."""
    edges: Array
    """Edges of the bins (H, B + 1), from the smallest to the largest finite value."""


@dataclass(frozen=True)
class TrainingHistory(Measurement):
    """What ``fit`` reports after each of E epochs, for N names."""

    key: ClassVar[str] = "training"
    position: ClassVar[int] = 13
    names: tuple[str, ...]
    """Names in the logs (``loss``, ``val_loss``, ...) (N)."""
    epochs: Array
    """Epochs (E), from 1, counted over all calls of ``fit``."""
    values: Array
    """Values (N, E), a row for each name; NaN if an epoch lacks it."""


@dataclass(frozen=True)
class PlannedCallback:
    """A callback that the program passes to ``fit``."""

    kind: str
    """Its class name."""
    config: dict[str, Any] = field(default_factory=dict)
    """Its settings that matter to training (``monitor``, ``mode``, ``patience``, ``factor``, ...),
    as far as they are plain values."""
    direction: str = ""
    """Which direction of the monitored metric Keras treats as better: ``min`` or ``max``;
    ``unknown`` if Keras cannot determine it and will raise; empty if nothing is monitored or it is
    not known yet."""
    metric_direction: str = ""
    """The direction that the metric itself declares: ``min`` or ``max``; empty if none."""


@dataclass(frozen=True)
class TrainingPlan(Measurement):
    """The arguments of ``fit``: length, learning rate (T sampled points), callbacks."""

    key: ClassVar[str] = "plan"
    position: ClassVar[int] = 15
    epochs: int | None
    """Epochs to train; None if unknown."""
    steps_per_epoch: int | None
    """Training steps in an epoch, as passed to ``fit`` or from the size of the data; None if
    unknown."""
    schedule: str
    """Class name of the learning rate schedule, or of the callback that sets the rate;
    ``constant`` without either."""
    schedule_config: dict[str, Any]
    """Plain part of the schedule's configuration; empty for a callback and a constant rate."""
    at: Array
    """Sampled points of the planned training in epochs (T), from 0; empty if its length is
    unknown."""
    rates: Array
    """Learning rate at these points (T)."""
    peak: float
    """Highest learning rate that the schedule ever reaches; NaN if it rises without end or is
    unknown."""
    callbacks: tuple[PlannedCallback, ...] = ()
    """The callbacks, in the order given."""
    validated: bool | None = None
    """Whether there is validation data; None if unknown."""
    own_report: bool = False
    """Whether the model overrides how metrics are computed or reported (``test_step``,
    ``evaluate``, ``compute_metrics``, ``get_metrics_result``)."""
