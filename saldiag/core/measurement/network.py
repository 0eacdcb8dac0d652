"""Of the network: wiring, gradient flow, dtypes and activations of one batch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from saldiag.core.measurement.base import Measurement, Source


@dataclass(frozen=True)
class LayerCall:
    """One call of one layer, as the trace saw it.

    ``inputs`` are the call paths of the nearest *leaf* calls upstream (``""`` is the model's
    input); raw operations in between are looked through. Shapes have ``None`` for the batch.
    ``config`` is the layer's configuration as far as it is plain (numbers, text, flags).
    ``repeats`` is the path of an earlier call of the same layer with the very same tensors.
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
    repeats: str | None = None


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
class BlockedOperation:
    """An operation without a gradient on the only way from the loss to trainable layers.

    ``layer`` is the path of the layer whose call holds it (``""``: the model's own call, or the
    loss); ``behind`` the layer that takes what it gives, ``""`` where that is the loss. ``before``
    are the trainable layers that no gradient comes to; ``fed`` those before it that get one by
    another way.
    """

    op: str
    layer: str
    behind: str
    before: tuple[str, ...]
    fed: tuple[str, ...] = ()


@dataclass(frozen=True)
class UntrackedWeights:
    """Trainable weights that the loss depends on and that the model does not list.

    ``of_layer``: those of a layer that Keras does not know of, called at ``layer``, of class
    ``name``. Otherwise a ``tf.Variable`` that the layer at ``layer`` holds as attribute ``name``.
    """

    layer: str
    name: str
    of_layer: bool
    parameters: int
    source: Source | None = None


@dataclass(frozen=True)
class IgnoredOutput:
    """An output of several that the loss does not depend on, or depends on by a weight of 0.

    ``outputs`` are the paths of the leaf calls that made it and no output with a loss; ``weight``
    is 0.0 or, without a loss, None.
    """

    name: str
    outputs: tuple[str, ...]
    weight: float | None = None


@dataclass(frozen=True)
class OutputLoss:
    """One of several losses of ``compile``, and which outputs it is for.

    ``outputs`` are the call paths that made them, ``places`` where they are among the outputs that
    have a loss, from 0. ``loss`` and ``config`` are as ``Wiring.loss`` and ``loss_config``.
    """

    loss: str
    config: dict[str, Any]
    outputs: tuple[str, ...]
    places: tuple[int, ...]


@dataclass(frozen=True)
class Wiring(Measurement):
    """The model as it is put together: what is called, in which order, and by what it is judged.

    ``outputs`` are the call paths of the leaf calls that made the model's outputs.
    ``precision`` is the policy's name; ``loss_scaled`` says whether the optimizer scales the loss.
    ``optimizer_config`` is the plain part of the optimizer's configuration (``clipnorm``, …).
    ``operations`` are the types of all raw operations on what comes from the input, outside the
    leaf calls; None where they were not listed. ``on_input`` are those of them that nothing but the
    input comes to. ``own_training`` says that the model computes its
    loss, or takes its training step, by code of its own, which can call layers as well.
    ``blocked`` and ``untracked`` are None where there was no loss to look from.
    ``loss_weights`` are the factors given to ``compile``. ``in_losses`` are the call paths of the
    leaf calls that what was given to ``add_loss`` is made from. ``ignored`` are the outputs
    without a part in the loss, ``unused`` the names of the inputs that neither an output nor the
    loss depends on; both are None where there was no loss to look from. ``declared`` says that the
    model was made of its inputs and outputs, so that it has those inputs by intent. ``handed`` are
    those of ``unused`` that a layer is given all the same, perhaps for their shape. ``judged`` are
    those of ``outputs`` that have a loss of their own, and ``unjudged`` the places, from 0, of the
    model's outputs that have none; None and empty where that is not known. ``computed`` are those
    of ``outputs`` whose numbers no output is: operations between layers make other ones of them.
    ``losses`` are those of a model with different ones for its outputs; empty where there is one.
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
    blocked: tuple[BlockedOperation, ...] | None = None
    untracked: tuple[UntrackedWeights, ...] | None = None
    loss_weights: tuple[float, ...] = ()
    on_input: tuple[str, ...] | None = None
    in_losses: tuple[str, ...] = ()
    ignored: tuple[IgnoredOutput, ...] | None = None
    unused: tuple[str, ...] | None = None
    declared: bool = False
    handed: tuple[str, ...] = ()
    judged: tuple[str, ...] | None = None
    unjudged: tuple[int, ...] = ()
    computed: tuple[str, ...] = ()
    losses: tuple[OutputLoss, ...] = ()

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
class LostConstant:
    """A constant beside a float16 value that is exactly 0, and what it was to keep from 0.

    ``path`` is the call that holds it; ``added_by`` the operation that takes the constant
    (``AddV2``, ``Maximum``), ``guards`` the one that gets the result (``Log``, ``RealDiv``, …).
    """

    path: str
    layer: str
    added_by: str
    guards: str


@dataclass(frozen=True)
class WrappedIntegers:
    """An operation on what comes from the input whose results do not fit into its integer dtype.

    ``path`` is the call that holds it (``""``: the model's own); ``op`` is an arithmetic operation,
    or ``Cast`` from floats. ``share`` is that of its results which left the range, in one batch.
    ``flat``: a cast from floats, or a division of whole numbers, all of whose results in that batch
    are one number while what went in differs; ``share`` is 1 then, and the dtype any.
    """

    path: str
    layer: str
    op: str
    dtype: str
    share: float
    flat: bool = False


@dataclass(frozen=True)
class DtypeTrace(Measurement):
    """The dtypes of a forward pass, found by tracing; no step is run.

    ``lost_constants`` are those in code of the user's own, the loss included. ``wrapped`` are the
    operations on integers of 8 or 16 bits that leave their range, or on any integers that leave one
    number; None where no batch was run.
    """

    key: ClassVar[str] = "dtypes"
    policy: str
    rows: tuple[DtypeRow, ...]
    casts: tuple[Cast, ...]
    output_dtypes: tuple[str, ...]
    loss_dtype: str | None
    batch_size: int
    lost_constants: tuple[LostConstant, ...] = ()
    wrapped: tuple[WrappedIntegers, ...] | None = None


@dataclass(frozen=True)
class ActivationRow:
    """Output of one layer call over one batch.

    ``zero_share``, ``saturated_share`` (within 1 % of a bounded activation's limits, else nan) and
    ``nonfinite_share`` are shares of elements; ``dead_share`` is the share of units (last axis)
    that are zero for every sample and place; ``sample_variation`` is the standard deviation across
    the samples, averaged over elements, divided by the overall standard deviation: 0 means the
    same output for every input. Of a large output all but ``nonfinite_share`` are those of evenly
    spaced places of every sample and unit.
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
