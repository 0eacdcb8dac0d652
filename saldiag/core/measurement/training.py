"""Of training: gradients step by step, what trains, the overfit test, histograms, epochs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from saldiag.core.measurement.base import Array, Measurement


@dataclass(frozen=True)
class VariableInfo:
    """A trainable variable: ``path`` is its layer's path and its own name."""

    path: str
    layer: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class GradientHistory(Measurement):
    """Gradients in the training graph, step by step; T recorded steps by V variables.

    ``norm`` is the L2 norm, ``mean`` and ``maximum`` those of |g|, ``zero_share`` and
    ``nonfinite_share`` are shares of elements in [0, 1], ``update_ratio`` is |Δw| / |w| of the step
    that the optimizer really took, ``weight_norm`` is |w| before it. ``nan`` where a variable had
    no gradient at all. Values are unscaled under a LossScaleOptimizer; ``loss_scale`` (T) is 1
    where there is none. ``loss`` (T) is the batch's loss in training mode, ``nan`` if unknown.
    """

    key: ClassVar[str] = "gradients"
    variables: tuple[VariableInfo, ...]
    steps: Array
    norm: Array
    mean: Array
    maximum: Array
    zero_share: Array
    nonfinite_share: Array
    update_ratio: Array
    weight_norm: Array
    loss_scale: Array
    loss: Array
    dropped_steps: int = 0


@dataclass(frozen=True)
class TrainableRow:
    """One variable: what is declared of it and what really happens to it.

    ``layer_flag`` is its own layer's ``trainable``, ``parents_flag`` that of all layers above it
    (the model included), ``variable_flag`` the variable's own. ``in_layer`` says whether the
    *parent* layer lists it among its trainable weights, ``in_model`` whether the model does.
    ``has_gradient`` and ``changed`` are None where no step was taken. ``role`` is the variable's
    name (``kernel``, ``gamma``, ``moving_mean`` …). ``start_distance`` is the Kolmogorov-Smirnov
    distance between the values and the distribution of the layer's own initializer, times the
    square root of their number (critical value 1.63 at 1 %, Massey 1951); ``nan`` if untold.
    ``watched`` says whether TensorFlow's own variable behind it is one that a tape watches.
    """

    path: str
    layer: str
    kind: str
    role: str
    size: int
    layer_flag: bool
    parents_flag: bool
    variable_flag: bool
    in_layer: bool
    in_model: bool
    in_optimizer: bool | None
    has_gradient: bool | None
    changed: bool | None
    start_distance: float = float("nan")
    watched: bool = True


@dataclass(frozen=True)
class NormalizationRow:
    """One BatchNorm layer: ``training_mode`` is what it really does when the model trains.

    ``at_start`` says that gamma, beta and both moving statistics still hold their start values.
    """

    path: str
    trainable: bool
    training_mode: bool | None
    momentum: float
    at_start: bool


@dataclass(frozen=True)
class TrainableStatus(Measurement):
    """What is trainable on paper, and what trains."""

    key: ClassVar[str] = "trainable"
    rows: tuple[TrainableRow, ...]
    normalization: tuple[NormalizationRow, ...]
    parameters: int
    trainable_parameters: int


@dataclass(frozen=True)
class OverfitHistory(Measurement):
    """The overfit test as it went. Errors are the loss recomputed from plain predictions.

    ``steps`` and ``loss`` (T): every training step's batch loss as trained. ``checked`` (K): steps
    after which both modes were measured on the whole memorised set: ``training_error`` and
    ``inference_error``. ``recalibrated_error`` is the inference error at the end after BatchNorm's
    moving statistics were re-estimated on a copy from the same items (nan if not done).
    ``prediction_variation`` is the sample variation of the inference predictions at the end.
    ``no_gradient``: no trainable variable gets a gradient, but for rounding. ``validation_error``
    is the inference error at the end on items that were not memorised. ``rate_growth`` is the
    learning rate at the end over that after half of the steps. ``stopped`` is why it ended:
    ``memorised``, ``no gradient``, ``budget``, ``steps``, ``interrupted``, ``non-finite``.
    ``metric_names`` (M) are what ``fit`` reports, and ``metric_values`` (T, M) what it reported of
    each step's batch. ``moved_share`` is the share of the trainable variables that the test
    changed; nan if no step was taken.
    """

    key: ClassVar[str] = "overfit"
    metric: str
    items: int
    subset_items: int
    batch_size: int
    image_size: int | None
    steps: Array
    loss: Array
    checked: Array
    training_error: Array
    inference_error: Array
    recalibrated_error: float
    baseline_constant: float
    baseline_independent: float
    prediction_variation: float
    no_gradient: bool
    stopped: str
    budget_seconds: float
    max_steps: int
    validation_error: float = float("nan")
    rate_growth: float = float("nan")
    metric_names: tuple[str, ...] = ()
    metric_values: Array = field(default_factory=lambda: np.zeros((0, 0)))
    moved_share: float = float("nan")


@dataclass(frozen=True)
class RangeTest(Measurement):
    """The learning rate raised from pass to pass over the memorised items.

    ``rates`` (T) rise evenly in the logarithm; ``loss`` (T) is the mean loss of the steps of the
    pass at each. It ends early where the loss leaves for good, or is not finite.
    """

    key: ClassVar[str] = "range"
    rates: Array
    loss: Array


@dataclass(frozen=True)
class Histograms(Measurement):
    """Histograms of weights, gradients and activations at some steps.

    ``names`` (H) are ``weights/PATH``, ``gradients/PATH`` or ``activations/PATH``; ``steps`` (H)
    the step of each; ``counts`` (H, B) and ``edges`` (H, B + 1) the bins.
    """

    key: ClassVar[str] = "histograms"
    names: tuple[str, ...]
    steps: Array
    counts: Array
    edges: Array


@dataclass(frozen=True)
class TrainingHistory(Measurement):
    """Scalars over a training run: ``values[i]`` (len E) belongs to ``names[i]`` at ``epochs``.

    Epochs count from 1, over all calls of ``fit``.
    """

    key: ClassVar[str] = "training"
    names: tuple[str, ...]
    epochs: Array
    values: Array


@dataclass(frozen=True)
class PlannedCallback:
    """A callback of ``fit``: its class and the plain part of what it holds.

    ``direction`` is what Keras takes for better in the monitored quantity, ``min`` or ``max``;
    ``unknown`` where Keras cannot tell and will refuse; empty where nothing is monitored or it
    is not known yet. ``metric_direction`` is what that metric says of itself; empty if nothing.
    """

    kind: str
    config: dict[str, Any] = field(default_factory=dict)
    direction: str = ""
    metric_direction: str = ""


@dataclass(frozen=True)
class TrainingPlan(Measurement):
    """What ``fit`` is to do: how long, at which learning rate, ended by what.

    ``schedule`` is the class of the learning rate schedule or of the callback that sets the rate,
    ``constant`` without one. ``rates`` (T) is the rate ``at`` (T, in epochs from 0) sampled places
    of the planned training; both are empty where its length is not known. ``peak`` is the highest
    rate that the schedule reaches, however long one trains; nan where it rises without end.
    ``validated`` says whether there are validation data; None where that is not known.
    ``own_report`` says that the model evaluates itself, or names what it reports, by code of its
    own.
    """

    key: ClassVar[str] = "plan"
    epochs: int | None
    steps_per_epoch: int | None
    schedule: str
    schedule_config: dict[str, Any]
    at: Array
    rates: Array
    peak: float
    callbacks: tuple[PlannedCallback, ...] = ()
    validated: bool | None = None
    own_report: bool = False
