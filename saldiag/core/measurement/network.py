"""Measurements of the network: wiring, gradient flow, dtypes and activations of one batch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from saldiag.core.measurement.base import Measurement, Source


@dataclass(frozen=True)
class LayerCall:
    """One call of one layer in the traced forward pass.

    A raw operation between layers that matters to learning (an activation, or an operation without
    a gradient) is listed as a leaf call of kind ``op`` under ``PARENT/op:TYPE``.
    """

    path: str
    """Call path, unique in the model; the second call of a layer ends in ``#2``."""
    layer: str
    """Path of the layer that is called; the model itself is the empty path."""
    kind: str
    """Class name of the layer, or ``op`` for a raw operation."""
    depth: int
    """Nesting depth; 1 for a layer that the model's own ``call`` calls."""
    leaf: bool
    """Whether the call contains no other call that the trace could follow."""
    inputs: tuple[str, ...]
    """Call paths of the nearest leaf calls upstream, without raw operations in between; ``""`` is
    the model's input."""
    input_shapes: tuple[tuple[int | None, ...], ...]
    """Shapes of the input tensors (masks excluded); None for the batch axis, ``(None,)`` if the
    rank is unknown."""
    output_shapes: tuple[tuple[int | None, ...], ...]
    """Shapes of the output tensors, as in ``input_shapes``."""
    activation: str | None = None
    """Name of the activation function that the call applies (``relu``, ``softmax``, ...); None for
    none or ``linear``."""
    axis: int | None = None
    """Axis that a softmax normalizes over, counted from the front; None for other activations and
    if unknown."""
    trainable: bool = True
    """The layer's own ``trainable`` flag; False for a raw operation."""
    parameters: int = 0
    """Number of elements in all weights of the layer and its sublayers, trainable or not; a shared
    layer has it at each call."""
    config: dict[str, Any] = field(default_factory=dict)
    """The entries of ``get_config()`` that are numbers, text, flags, or short lists of these,
    without ``name``; empty for models and raw operations."""
    source: Source | None = None
    """Line that creates the layer, or the layer around it; None if unknown."""
    repeats: str | None = None
    """Path of an earlier call of the same layer with exactly the same input tensors; None if there
    is none."""


@dataclass(frozen=True)
class Origin:
    """Pretrained network that a layer is modelled on, and how the layer differs from it there."""

    layer: str
    """Path of the layer in this model."""
    network: str
    """Name of the pretrained network."""
    source_layer: str | None
    """Name of the corresponding layer in that network; None if it has none."""
    copied: bool
    """Whether the layer's weights are copied from there; False if they are randomly initialized."""
    here: dict[str, Any] = field(default_factory=dict)
    """Settings of this model's layer that matter to its weights (``strides``, ``kernel_size``,
    ``activation``, ``epsilon``)."""
    there: dict[str, Any] = field(default_factory=dict)
    """The same settings in the pretrained network; empty without a ``source_layer``."""


@dataclass(frozen=True)
class UncalledLayer:
    """A layer that the model holds but does not call in a forward pass in training mode.

    Of nested uncalled layers only the outermost is listed.
    """

    path: str
    """Path of the layer."""
    kinds: tuple[str, ...]
    """Class names of the layer and of all layers inside it, without repetition."""
    trainable: bool
    """The layer's own ``trainable`` flag."""
    built: bool
    """Whether the layer and all layers inside it have their variables."""
    parameters: int
    """Number of elements in its trainable weights; 0 unless built."""
    source: Source | None = None
    """Line that creates the layer; None if unknown."""


@dataclass(frozen=True)
class BlockedOperation:
    """An operation without a gradient on the only path from the loss to trainable variables."""

    op: str
    """TensorFlow type of the operation (``Round``, ``StopGradient``, ...), or ``cast to
    integers``."""
    layer: str
    """Path of the layer whose call contains it; ``""`` for the model's own call or the loss."""
    behind: str
    """Path of the leaf layer that consumes the result; ``""`` if that is the loss."""
    before: tuple[str, ...]
    """Paths of the trainable layers that receive no gradient because of it."""
    fed: tuple[str, ...] = ()
    """Paths of the trainable layers upstream of it that receive a gradient along another path."""


@dataclass(frozen=True)
class UntrackedWeights:
    """Trainable weights that the loss depends on but the model does not list."""

    layer: str
    """Path of the untracked layer where it is called, or of the layer that holds the
    ``tf.Variable``."""
    name: str
    """Class name of the untracked layer, or name of the attribute that holds the variable."""
    of_layer: bool
    """True for a layer that Keras does not track, False for a ``tf.Variable`` in an attribute."""
    parameters: int
    """Number of elements in these weights."""
    source: Source | None = None
    """Line that creates the layer; None if unknown."""


@dataclass(frozen=True)
class IgnoredOutput:
    """One of several model outputs that does not affect the loss."""

    name: str
    """Keras' name of the output, or ``output INDEX`` if it has none."""
    outputs: tuple[str, ...]
    """Call paths of the leaf calls that make this output and no output with a loss."""
    weight: float | None = None
    """0.0 if its loss is multiplied by a loss weight of 0; None if it has no loss."""


@dataclass(frozen=True)
class OutputLoss:
    """One of several different losses given to ``compile``, and the outputs it applies to."""

    loss: str
    """Name of the loss, as in ``Wiring.loss``."""
    config: dict[str, Any]
    """Plain part of its configuration, as in ``Wiring.loss_config`` but without ``name``."""
    outputs: tuple[str, ...]
    """Call paths of the leaf calls that make these outputs."""
    places: tuple[int, ...]
    """Positions of these outputs, from 0, among the outputs that have a loss."""


@dataclass(frozen=True)
class Wiring(Measurement):
    """How the model is put together: its calls in order, its outputs, loss and optimizer.

    A fact about the loss is None if no loss could be traced: the model is not compiled, there are
    no targets, or the loss cannot be computed for the batch.
    """

    key: ClassVar[str] = "wiring"
    position: ClassVar[int] = 1
    model: str
    """Name of the model."""
    calls: tuple[LayerCall, ...]
    """Every layer call of one forward pass, in order of execution; an outer call comes before the
    calls inside it."""
    outputs: tuple[str, ...]
    """Call paths of the leaf calls that the model's outputs come from, in the order of the
    outputs."""
    loss: str
    """Name of the loss as Keras spells it (``binary_crossentropy``), ``custom:NAME`` for other
    code, ``none`` without a loss; different losses of several outputs are joined by ``+``."""
    loss_config: dict[str, Any]
    """Plain part of the loss's configuration (``from_logits``, ``reduction``, ...); empty for a
    function and for several losses."""
    optimizer: str
    """Class name of the optimizer (the inner one of a LossScaleOptimizer); ``none`` without one."""
    learning_rate: float
    """Current learning rate; a schedule is evaluated at the optimizer's step. NaN without an
    optimizer."""
    precision: str
    """Name of the model's dtype policy (``float32``, ``mixed_float16``, ...)."""
    loss_scaled: bool
    """Whether the optimizer scales the loss (LossScaleOptimizer or ``loss_scale_factor``)."""
    parameters: int
    """Number of elements in all weights of the model."""
    trainable_parameters: int
    """Number of elements in its trainable weights."""
    origins: tuple[Origin, ...] = ()
    """Origins of the layers that are modelled on a pretrained network; empty if unknown."""
    optimizer_config: dict[str, Any] = field(default_factory=dict)
    """Plain part of the optimizer's configuration (``clipnorm``, ``weight_decay``, ...)."""
    operations: tuple[str, ...] | None = None
    """TensorFlow types of all raw operations outside leaf calls that depend on the model's input,
    sorted; None if they were not listed."""
    uncalled: tuple[UncalledLayer, ...] = ()
    """Layers that a forward pass in training mode does not call."""
    own_training: bool = False
    """Whether the model overrides ``train_step`` or ``compute_loss``, which may call layers that
    the forward pass does not."""
    blocked: tuple[BlockedOperation, ...] | None = None
    """Operations that cut trainable variables off from the loss; None without a traced loss."""
    untracked: tuple[UntrackedWeights, ...] | None = None
    """Weights in use that the model does not list; None without a traced loss."""
    loss_weights: tuple[float, ...] = ()
    """Numbers given to ``compile(loss_weights=...)``, flattened; empty if none were given."""
    on_input: tuple[str, ...] | None = None
    """The types among ``operations`` that occur where the only leaf call upstream is the model's
    input; None if they were not listed."""
    in_losses: tuple[str, ...] = ()
    """Call paths of the leaf calls that the terms given to ``add_loss`` are computed from."""
    ignored: tuple[IgnoredOutput, ...] | None = None
    """Outputs that do not affect the loss; empty for a single output, None without a traced
    loss."""
    unused: tuple[str, ...] | None = None
    """Names of the inputs that affect neither an output nor the loss; None without a traced
    loss."""
    declared: bool = False
    """Whether the model is functional, so its inputs were declared explicitly."""
    handed: tuple[str, ...] = ()
    """The names among ``unused`` that a layer with code receives nevertheless, possibly only for
    their shape."""
    judged: tuple[str, ...] | None = None
    """Call paths of the leaf calls that make the outputs with a loss of their own; None if Keras
    did not assign losses to outputs (a custom training step)."""
    unjudged: tuple[int, ...] = ()
    """Positions, from 0, of the outputs without a loss of their own; empty if unknown."""
    computed: tuple[str, ...] = ()
    """The paths among ``outputs`` whose values reach no output unchanged, because operations
    between layers compute new values from them."""
    losses: tuple[OutputLoss, ...] = ()
    """The losses, if outputs have different ones; empty if there is one loss for all."""

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
class FlowRow:
    """Gradient of the loss at one layer call."""

    path: str
    """Call path."""
    layer: str
    """Path of the layer."""
    kind: str
    """Class name of the layer, or ``op`` for a raw operation."""
    depth: int
    """Nesting depth, as in ``LayerCall``."""
    leaf: bool
    """Whether the call contains no other call."""
    output_gradient: float | None
    """L2 norm of dL/d(output), summed over the output tensors. None if no path leads from the
    output to the loss, or if it could not be measured (``skipped`` has the reason); 0.0 if a path
    exists and the gradient is exactly zero."""
    input_gradient: float | None
    """L2 norm of dL/d(input), summed over the input tensors; None and 0.0 as above."""
    differentiable_input: bool = True
    """Whether any input tensor is of a float dtype."""
    skipped: str | None = None
    """Why the gradient could not be measured, in one line; None if it was."""


@dataclass(frozen=True)
class VariableGradient:
    """Gradient of the loss with respect to one trainable variable, for the same batch."""

    path: str
    """Path of the variable."""
    layer: str
    """Path of its layer."""
    norm: float | None
    """L2 norm of the gradient; None if no path leads from the variable to the loss."""
    zero_share: float
    """Share of the gradient's elements that are exactly 0, in [0, 1]; NaN without a gradient."""
    nonfinite_share: float
    """Share of the gradient's elements that are NaN or infinite; NaN without a gradient."""


@dataclass(frozen=True)
class GradientFlow(Measurement):
    """Gradients at every layer call and trainable variable, from one backward pass of one batch.

    Norms are those of the unscaled loss, also with a LossScaleOptimizer.
    """

    key: ClassVar[str] = "flow"
    position: ClassVar[int] = 3
    rows: tuple[FlowRow, ...]
    """One row for each layer call, in order of execution."""
    variables: tuple[VariableGradient, ...]
    """One row for each trainable variable, in the model's order."""
    loss: float
    """Loss of the batch, regularization included."""
    training: bool
    """Whether the forward pass ran in training mode."""


@dataclass(frozen=True)
class DtypeRow:
    """Dtypes of one layer call."""

    path: str
    """Call path."""
    layer: str
    """Path of the layer."""
    kind: str
    """Class name of the layer, or ``op`` for a raw operation."""
    depth: int
    """Nesting depth, as in ``LayerCall``."""
    leaf: bool
    """Whether the call contains no other call."""
    compute: str
    """The layer's compute dtype; for a raw operation the dtypes of its outputs."""
    variable: str
    """The layer's variable dtype; empty for a raw operation."""
    inputs: tuple[str, ...]
    """Actual dtypes of the input tensors, before autocast."""
    outputs: tuple[str, ...]
    """Actual dtypes of the output tensors."""
    parameters: int
    """Number of elements in all weights of the layer and its sublayers."""


@dataclass(frozen=True)
class Cast:
    """A cast from one float dtype to another in the forward pass."""

    path: str
    """Path of the variable that is cast, else of the layer call it happens in; ``""`` outside of
    any layer."""
    before: str
    """Dtype of the tensor before the cast."""
    after: str
    """Dtype after the cast."""
    elements: int
    """Number of elements that are cast for one batch; an unknown axis counts as the batch size."""
    size: int
    """Bytes written for one batch: ``elements`` times the item size of ``after``."""


@dataclass(frozen=True)
class LostConstant:
    """A float16 constant that was rounded to 0 and so no longer guards the operation after it.

    Only constants in the user's own code are listed, the loss included.
    """

    path: str
    """Path of the layer call that contains the operation; ``""`` outside of any layer."""
    layer: str
    """Path of its layer."""
    added_by: str
    """TensorFlow type of the operation that applies the constant (``AddV2``, ``Maximum``)."""
    guards: str
    """Type of the guarded operation (``Log``, ``RealDiv``, ...), whose input must not be 0."""


@dataclass(frozen=True)
class WrappedIntegers:
    """An operation on the model's input whose results do not fit its integer dtype.

    Either the results leave the range of an 8-bit or 16-bit dtype and wrap around, or (``flat``)
    a conversion to whole numbers makes all of them equal.
    """

    path: str
    """Path of the layer call that contains it; ``""`` for the model's own code."""
    layer: str
    """Path of its layer."""
    op: str
    """TensorFlow type of the operation: an arithmetic one, or ``Cast`` from floats."""
    dtype: str
    """Dtype of the result."""
    share: float
    """Share of the results in one batch that leave the range, in (0, 1]; 1 if ``flat``."""
    flat: bool = False
    """Whether it is a cast from floats or an integer division whose results are all the same
    number although its inputs differ."""


@dataclass(frozen=True)
class DtypeTrace(Measurement):
    """Dtypes of a forward pass, read from the traced graph; no training step is run."""

    key: ClassVar[str] = "dtypes"
    position: ClassVar[int] = 4
    policy: str
    """Name of the model's dtype policy."""
    rows: tuple[DtypeRow, ...]
    """One row for each layer call, in order of execution."""
    casts: tuple[Cast, ...]
    """Casts between float dtypes, in the order of the graph."""
    output_dtypes: tuple[str, ...]
    """Dtypes of the model's outputs."""
    loss_dtype: str | None
    """Dtype of the loss; None if no loss was traced."""
    batch_size: int
    """Batch size that ``Cast.elements`` and ``Cast.size`` are for."""
    lost_constants: tuple[LostConstant, ...] = ()
    """Guarding constants that float16 rounds to 0."""
    wrapped: tuple[WrappedIntegers, ...] | None = None
    """Operations whose results do not fit their integer dtype; None if no batch was run."""


@dataclass(frozen=True)
class ActivationRow:
    """Statistics of the first float output of one layer call over one batch.

    Statistics are those of the finite values. For a large output they are computed from evenly
    spaced positions of every sample and unit, except for ``nonfinite_share``.
    """

    path: str
    """Call path."""
    layer: str
    """Path of the layer."""
    kind: str
    """Class name of the layer, or ``op`` for a raw operation."""
    activation: str | None
    """Name of the activation function that the call applies; None for none or ``linear``."""
    depth: int
    """Nesting depth, as in ``LayerCall``."""
    leaf: bool
    """Whether the call contains no other call."""
    mean: float
    """Mean of the output; NaN without a finite value."""
    std: float
    """Standard deviation of the output; NaN without a finite value."""
    minimum: float
    """Smallest finite value; NaN if there is none."""
    maximum: float
    """Largest finite value; NaN if there is none."""
    zero_share: float
    """Share of elements that are exactly 0, in [0, 1]."""
    dead_share: float
    """Share of units (last axis) that are 0 for every sample and position, in [0, 1]; NaN for an
    output without a unit axis."""
    saturated_share: float
    """Share of elements within 1 % of a bounded activation's limits (sigmoid, tanh, softsign, the
    upper limit of relu6); NaN for other activations."""
    nonfinite_share: float
    """Share of elements that are NaN or infinite, in [0, 1]."""
    sample_variation: float
    """Standard deviation across the samples, averaged over the elements and divided by ``std``;
    0 if the output is the same for every sample, NaN for fewer than two samples."""


@dataclass(frozen=True)
class Activations(Measurement):
    """Outputs of the layer calls over one batch."""

    key: ClassVar[str] = "activations"
    position: ClassVar[int] = 6
    rows: tuple[ActivationRow, ...]
    """One row for each call with a float output, in order of execution."""
    training: bool
    """Whether the forward pass ran in training mode."""
    batch_size: int
    """Number of samples in the batch."""
