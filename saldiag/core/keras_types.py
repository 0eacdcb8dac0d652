"""Types of the Keras and TensorFlow objects that saldiag handles, without importing either library.

Both libraries are untyped: to mypy every object that comes from them is ``Any``. The protocols name
the public members that saldiag uses. The aliases say what an ``Any`` holds where the type has no
useful protocol, because tensors overload every operator.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

Tensor: TypeAlias = Any
"""A ``tf.Tensor``, eager or symbolic."""

Gradient: TypeAlias = Any
"""The gradient of one tensor: ``tf.Tensor``, ``tf.IndexedSlices``, or None without a path."""

TFVariable: TypeAlias = Any
"""A ``tf.Variable``: the one behind a Keras variable, or one of the program's own."""

TensorTree: TypeAlias = Any
"""Tensors or arrays, nested in tuples, lists and dicts as a model accepts or returns them."""

BatchLike: TypeAlias = Any
"""A batch as ``fit`` takes it: ``x``, ``(x,)``, ``(x, y)`` or ``(x, y, sample_weight)``.

Each part is a ``TensorTree``; where only the description of a batch is needed, its leaves may be
``tf.TensorSpec`` or ``keras.KerasTensor``.
"""

LossFunction: TypeAlias = Callable[[TensorTree, TensorTree], Tensor]
"""``loss(y, y_pred)``: a tensor of any shape, whose mean is the loss."""

KerasLoss: TypeAlias = Any
"""A loss as ``compile`` takes it: an object, a function or a name."""


class GraphOperation(Protocol):
    """An operation of a TensorFlow graph (``tf.Operation``)."""

    @property
    def name(self) -> str:
        """Unique name in its graph."""

    @property
    def type(self) -> str:
        """Type of the operation, such as ``MatMul``."""

    @property
    def inputs(self) -> Sequence[Tensor]:
        """The input tensors."""

    @property
    def outputs(self) -> Sequence[Tensor]:
        """The output tensors."""

    @property
    def node_def(self) -> Any:
        """The protocol buffer that defines the operation."""


class KerasVariable(Protocol):
    """A variable of a layer or an optimizer (``keras.Variable``)."""

    @property
    def name(self) -> str:
        """Role in its layer, such as ``kernel``."""

    @property
    def path(self) -> str:
        """Keras' own path."""

    @property
    def shape(self) -> Any:
        """The shape, without unknown axes."""

    @property
    def dtype(self) -> Any:
        """The dtype."""

    @property
    def trainable(self) -> bool:
        """The variable's own flag."""

    @property
    def value(self) -> TFVariable:
        """The ``tf.Variable`` behind it."""

    def numpy(self) -> Any:
        """The value as an array."""


class KerasLayer(Protocol):
    """A layer (``keras.layers.Layer``)."""

    trainable: bool
    """The layer's own flag."""

    @property
    def name(self) -> str:
        """The layer's name, unique within its functional model only."""

    @property
    def built(self) -> bool:
        """Whether the layer has created its variables."""

    @property
    def weights(self) -> Sequence[KerasVariable]:
        """All weights, including those of inner layers; no seed states."""

    @property
    def variables(self) -> Sequence[KerasVariable]:
        """All weights and seed states."""

    @property
    def trainable_weights(self) -> Sequence[KerasVariable]:
        """The weights that the layer lists as trainable."""

    @property
    def trainable_variables(self) -> Sequence[KerasVariable]:
        """The variables that the layer lists as trainable."""

    @property
    def losses(self) -> Sequence[Tensor]:
        """Regularisation terms and what ``add_loss`` was given."""

    @property
    def compute_dtype(self) -> str:
        """The dtype that the layer computes in."""

    @property
    def variable_dtype(self) -> str:
        """The dtype of the layer's weights."""

    @property
    def dtype_policy(self) -> Any:
        """The dtype policy."""

    def get_config(self) -> dict[str, Any]:
        """The arguments that the layer was created with."""

    def __call__(self, *args: Any, **kwargs: Any) -> TensorTree:
        """Run the layer."""


class KerasOptimizer(Protocol):
    """An optimizer (``keras.optimizers.Optimizer``), a LossScaleOptimizer included."""

    @property
    def built(self) -> bool:
        """Whether the optimizer has created its variables."""

    @property
    def variables(self) -> Sequence[KerasVariable]:
        """The optimizer's state."""

    @property
    def learning_rate(self) -> Any:
        """The current learning rate; a schedule is evaluated."""

    @property
    def loss_scale_factor(self) -> float | None:
        """The factor on the loss; None without loss scaling."""

    @property
    def dynamic_scale(self) -> Any:
        """The current loss scale, a ``KerasVariable``; only a LossScaleOptimizer has it."""

    @property
    def initial_scale(self) -> float:
        """The loss scale before the first step; only a LossScaleOptimizer has it."""

    def apply(self, grads: Sequence[Gradient], trainable_variables: Any = None) -> None:
        """Take one step."""

    def get_config(self) -> dict[str, Any]:
        """The arguments that the optimizer was created with."""


class KerasModel(KerasLayer, Protocol):
    """A model (``keras.Model``), compiled or not."""

    optimizer: Any
    """The optimizer (``KerasOptimizer``); None before ``compile``."""
    train_function: Any
    """The traced training step; None if ``fit`` has to trace it."""
    test_function: Any
    """The traced validation step; None if it has to be traced."""

    @property
    def compiled(self) -> bool:
        """Whether ``compile`` was called."""

    @property
    def jit_compile(self) -> bool:
        """Whether training runs under XLA."""

    @property
    def metrics(self) -> Sequence[Any]:
        """The metrics, those of the loss included."""

    @property
    def output_names(self) -> Sequence[str]:
        """Names of the outputs; only a functional model has them."""

    def compute_loss(self, *args: Any, **kwargs: Any) -> Tensor:
        """The loss of a batch, regularisation included."""

    def make_train_function(self, force: bool = False) -> Any:
        """Create ``train_function``."""

    def train_step(self, data: BatchLike) -> dict[str, Any]:
        """Train on one batch."""

    def compile(self, **arguments: Any) -> None:
        """Set loss, optimizer and metrics."""

    def fit(self, *args: Any, **kwargs: Any) -> Any:
        """Train; returns Keras' ``History``."""

    def predict_on_batch(self, x: Any) -> Any:
        """The outputs of one batch in inference mode, as numpy arrays."""
