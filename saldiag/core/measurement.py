"""What a probe returns: plain numbers, without a threshold and without a tensor.

Each probe has one measurement type. A measurement is a frozen dataclass; its fields hold numbers,
text, tuples of rows and numpy arrays. A quantity that could not be had is ``nan`` (a number) or
``None`` (anything else), never zero. ``Measurements`` is the set that a run collected, with the
reason for each one that is missing.

Layers are named by *path*: the names of the layers from the model down, joined by ``/``
(``encoder/bir_1/expand``); the model itself is the empty path. A *call* is one use of a layer; the
second use of the same layer in one forward pass has the call path ``encoder/shared#2``. Variables
are named by their layer's path and their own name (``encoder/bir_1/expand/kernel``).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Measurement:
    """Base of all measurements; ``key`` names it in files and in a rule's ``requires``."""

    key: ClassVar[str]


@dataclass(frozen=True)
class Source:
    """A place in the user's code."""

    file: str
    line: int


@dataclass(frozen=True)
class LayerCall:
    """One call of one layer, as the trace saw it.

    ``inputs`` are the call paths of the nearest *leaf* calls upstream (``""`` is the model's
    input); raw operations in between are looked through. Shapes have ``None`` for the batch.
    ``config`` is the layer's configuration as far as it is plain (numbers, text, flags).
    """

    path: str
    layer: str
    kind: str
    depth: int
    leaf: bool
    inputs: tuple[str, ...]
    input_shapes: tuple[tuple[int | None, ...], ...]
    output_shapes: tuple[tuple[int | None, ...], ...]
    activation: str | None = None
    axis: int | None = None
    trainable: bool = True
    parameters: int = 0
    config: dict[str, Any] = field(default_factory=dict)
    source: Source | None = None


@dataclass(frozen=True)
class Origin:
    """Where a layer's weights come from, and how the network they were trained in differs.

    ``copied`` is false where the layer only stands in that network's place (its weights are
    random). ``here`` and ``there`` hold the same keys (``strides``, ``kernel_size``,
    ``activation``, …) for this model and for the original; ``there`` is empty where the original
    has no such layer.
    """

    layer: str
    network: str
    source_layer: str | None
    copied: bool
    here: dict[str, Any] = field(default_factory=dict)
    there: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class UncalledLayer:
    """A layer that the model holds and its forward pass in training mode does not call.

    Only the outermost of several is listed; ``kinds`` are its class and those of all inside it.
    ``parameters`` are the trainable ones; 0 where it is not ``built``.
    """

    path: str
    kinds: tuple[str, ...]
    trainable: bool
    built: bool
    parameters: int
    source: Source | None = None


@dataclass(frozen=True)
class Wiring(Measurement):
    """The model as it is put together: what is called, in which order, and by what it is judged.

    ``outputs`` are the call paths of the leaf calls that made the model's outputs.
    ``precision`` is the policy's name; ``loss_scaled`` says whether the optimizer scales the loss.
    ``optimizer_config`` is the plain part of the optimizer's configuration (``clipnorm``, …).
    ``operations`` are the types of all raw operations on what comes from the input, outside the
    leaf calls; None where they were not listed. ``own_training`` says that the model computes its
    loss, or takes its training step, by code of its own, which can call layers as well.
    """

    key: ClassVar[str] = "wiring"
    model: str
    calls: tuple[LayerCall, ...]
    outputs: tuple[str, ...]
    loss: str
    loss_config: dict[str, Any]
    optimizer: str
    learning_rate: float
    precision: str
    loss_scaled: bool
    parameters: int
    trainable_parameters: int
    origins: tuple[Origin, ...] = ()
    optimizer_config: dict[str, Any] = field(default_factory=dict)
    operations: tuple[str, ...] | None = None
    uncalled: tuple[UncalledLayer, ...] = ()
    own_training: bool = False

    def call(self, path: str) -> LayerCall | None:
        """The call at ``path``, or ``None``."""
        return next((call for call in self.calls if call.path == path), None)

    def order(self) -> dict[str, int]:
        """Position of each layer's first call, for sorting and for upstream/downstream."""
        positions: dict[str, int] = {}
        for index, call in enumerate(self.calls):
            positions.setdefault(call.layer, index)
        return positions


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
class FlowRow:
    """Gradient at one layer call: L2 norms of dL/d(output) and dL/d(input), summed over tensors.

    ``None`` means that no path leads from there to the loss (or that it could not be measured, if
    ``skipped`` says why); 0.0 means that a path exists and carries exactly nothing.
    """

    path: str
    layer: str
    kind: str
    depth: int
    leaf: bool
    output_gradient: float | None
    input_gradient: float | None
    differentiable_input: bool = True
    skipped: str | None = None


@dataclass(frozen=True)
class VariableGradient:
    """Gradient of one trainable variable for the same batch; ``norm`` is None if there is none."""

    path: str
    layer: str
    norm: float | None
    zero_share: float
    nonfinite_share: float


@dataclass(frozen=True)
class GradientFlow(Measurement):
    """|dL/d(output)| and |dL/d(input)| of every layer call for one batch, in order of execution."""

    key: ClassVar[str] = "flow"
    rows: tuple[FlowRow, ...]
    variables: tuple[VariableGradient, ...]
    loss: float
    training: bool


@dataclass(frozen=True)
class DtypeRow:
    """Compute, variable and real dtypes of one layer call."""

    path: str
    layer: str
    kind: str
    depth: int
    leaf: bool
    compute: str
    variable: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    parameters: int


@dataclass(frozen=True)
class Cast:
    """A place where the dtype changes: ``size`` bytes are written for one batch."""

    path: str
    before: str
    after: str
    elements: int
    size: int


@dataclass(frozen=True)
class DtypeTrace(Measurement):
    """The dtypes of a forward pass, found by tracing; no step is run."""

    key: ClassVar[str] = "dtypes"
    policy: str
    rows: tuple[DtypeRow, ...]
    casts: tuple[Cast, ...]
    output_dtypes: tuple[str, ...]
    loss_dtype: str | None
    batch_size: int


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
class ActivationRow:
    """Output of one layer call over one batch.

    ``zero_share``, ``saturated_share`` (within 1 % of a bounded activation's limits, else nan) and
    ``nonfinite_share`` are shares of elements; ``dead_share`` is the share of units (last axis)
    that are zero for every sample and place; ``sample_variation`` is the standard deviation across
    the samples, averaged over elements, divided by the overall standard deviation: 0 means the
    same output for every input.
    """

    path: str
    layer: str
    kind: str
    activation: str | None
    depth: int
    leaf: bool
    mean: float
    std: float
    minimum: float
    maximum: float
    zero_share: float
    dead_share: float
    saturated_share: float
    nonfinite_share: float
    sample_variation: float


@dataclass(frozen=True)
class Activations(Measurement):
    """Layer outputs over one batch; ``training`` tells the mode."""

    key: ClassVar[str] = "activations"
    rows: tuple[ActivationRow, ...]
    training: bool
    batch_size: int


@dataclass(frozen=True)
class TensorFacts:
    """Facts of one input, target or prediction tensor over the measured batches."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    minimum: float
    maximum: float
    mean: float
    std: float
    nan_share: float
    sample_variation: float
    distinct: int
    """Distinct values seen, counted up to 1,000."""


@dataclass(frozen=True)
class Baselines:
    """The loss of predictions that do not look at the input.

    ``constant`` is the best single number for every element, ``independent`` the best fixed
    prediction per element (the mean or median target, whichever the loss likes better).
    ``metric`` names the loss they are measured in.
    """

    metric: str
    constant: float
    constant_value: float
    independent: float
    independent_kind: str


@dataclass(frozen=True)
class DataFacts(Measurement):
    """What goes in, what should come out, what comes out; and the baselines."""

    key: ClassVar[str] = "data"
    inputs: tuple[TensorFacts, ...]
    targets: tuple[TensorFacts, ...]
    predictions: tuple[TensorFacts, ...]
    baselines: Baselines | None
    samples: int
    expected_range: tuple[float, float] | None = None
    """What the pretrained encoder expects of its input, where that is known."""
    no_baselines: str | None = None
    """Why ``baselines`` is None, in one line."""


@dataclass(frozen=True)
class LossCheck(Measurement):
    """The loss as Keras reports it against the same loss recomputed from the plain predictions.

    Keras takes logits that an activation left behind on its output, so a fault of the head can
    hide from the loss. ``regularization`` is subtracted from ``reported`` before comparing.
    ``in_order`` is the loss of the plain predictions, unweighted, and ``rolled`` the same after
    each sample was given its neighbour's target; nan where targets and predictions have the same
    rank.
    """

    key: ClassVar[str] = "loss_check"
    loss: str
    reported: float
    recomputed: float
    regularization: float
    reported_training: float
    recomputed_training: float
    in_order: float = float("nan")
    rolled: float = float("nan")


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


@dataclass(frozen=True)
class RecordedWarning:
    """A warning of the framework; ``silenced``: the program's filters would have hidden it."""

    category: str
    message: str
    file: str
    line: int
    silenced: bool
    count: int = 1
    silenced_by: Source | None = None
    """Where the program installed the filter that hides it, where that is known."""


@dataclass(frozen=True)
class WarningLog(Measurement):
    """What Keras and TensorFlow said, whatever the program's warning filters were."""

    key: ClassVar[str] = "warnings"
    warnings: tuple[RecordedWarning, ...]


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
class Predictions(Measurement):
    """A few samples to look at.

    ``images`` (N, H, W, 3) in [0, 1], ``targets`` and ``predictions`` (N, H, W, 1) as they are.
    """

    key: ClassVar[str] = "predictions"
    names: tuple[str, ...]
    images: Array
    targets: Array
    predictions: Array


@dataclass(frozen=True)
class TrainingHistory(Measurement):
    """Scalars over a training run: ``values[i]`` (len E) belongs to ``names[i]`` at ``epochs``."""

    key: ClassVar[str] = "training"
    names: tuple[str, ...]
    epochs: Array
    values: Array


TYPES: dict[str, type[Measurement]] = {
    kind.key: kind
    for kind in (
        Wiring, GradientHistory, GradientFlow, DtypeTrace, TrainableStatus, Activations, DataFacts,
        LossCheck, OverfitHistory, WarningLog, Histograms, Predictions, TrainingHistory,
    )
}  # fmt: skip

M = TypeVar("M", bound=Measurement)


@dataclass(frozen=True)
class Measurements:
    """All that a run measured, and why the rest is missing."""

    found: Mapping[str, Measurement] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls, *measurements: Measurement, missing: Mapping[str, str] | None = None
    ) -> Measurements:
        """Collect measurements under their keys."""
        return cls({m.key: m for m in measurements}, dict(missing or {}))

    def get(self, kind: type[M]) -> M | None:
        """The measurement of that type, or ``None``."""
        value = self.found.get(kind.key)
        return value if isinstance(value, kind) else None

    def need(self, kind: type[M]) -> M:
        """The measurement of that type.

        Raises:
            LookupError: it was not made; the message is the reason.
        """
        value = self.get(kind)
        if value is None:
            raise LookupError(self.reason(kind))
        return value

    def reason(self, kind: type[Measurement]) -> str:
        """Why the measurement of that type is missing."""
        return self.missing.get(kind.key, f"{kind.key} not measured by this command")

    def with_(self, *measurements: Measurement) -> Measurements:
        """A copy with more measurements; a later one replaces an earlier one of its type."""
        found = {**self.found, **{m.key: m for m in measurements}}
        missing = {key: why for key, why in self.missing.items() if key not in found}
        return Measurements(found, missing)

    def without(self, kind: type[Measurement], reason: str) -> Measurements:
        """A copy in which that measurement is missing for ``reason``."""
        found = {key: m for key, m in self.found.items() if key != kind.key}
        return Measurements(found, {**self.missing, kind.key: reason})

    def __iter__(self) -> Iterator[Measurement]:
        return iter(self.found.values())


def arrays_of(measurement: Measurement) -> dict[str, Array]:
    """The fields of a measurement that are numpy arrays."""
    values = {f.name: getattr(measurement, f.name) for f in dataclasses.fields(measurement)}
    return {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
