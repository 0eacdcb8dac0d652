"""Records the first step of a custom loop: the model's inputs, the loss, and its gradients.

The gradients of an unknown loss with respect to the model's outputs are all that the gradient flow
needs: ``sum(gradient * output)`` has the same gradients for every variable.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import tensorflow as tf

from saldiag.core.keras_types import KerasModel
from saldiag.keras_internals.variables import plain_variable
from saldiag_probes.hooks.engine import HookedCall
from saldiag_probes.hooks.gradient_tape import TAPE_TARGETS, in_current_graph
from saldiag_probes.hooks.tape_call import TapeCall
from saldiag_probes.training.ring_buffer import run_if

MAX_REMEMBERED_CALLS = 4
"""Largest number of model calls to remember: those of one step."""

SEVERAL_CALLS = (
    "the loss depends on {count} calls of the model: the contribution of each is not known"
)
UNKNOWN_LOSS = "the loss of the custom loop is not known: no gradient tape computed its gradient"
STEP_FAILED = "the first step of the custom loop raised an error"
UNKNOWN_PENALTIES = (
    "the model has regularisation losses: whether the loss of the custom loop includes them is"
    " not known"
)


@dataclass(frozen=True)
class StepRecord:
    """The first step of a custom loop, as far as it could be recorded."""

    inputs: Any
    """Inputs of the model's call; None if they are unknown."""
    output_indexes: tuple[int, ...] = ()
    """Indexes in the flattened outputs that the loss depends on, one for each gradient."""
    gradients: tuple[Any, ...] = ()
    """Gradients of the loss with respect to these outputs, in their shapes; empty if unknown."""
    reason: str = ""
    """Why the gradients are unknown; empty if they are known."""
    loss: Any = None
    """The loss, a scalar; None if it is unknown."""

    def probe_batch(self) -> tuple[Any, ...]:
        """A batch for the probes, with the gradients in index of targets; without if unknown."""
        return (self.inputs, list(self.gradients)) if self.gradients else (self.inputs,)

    def without_loss_scale(self, scale: float) -> StepRecord:
        """The record with loss and gradients in float32, divided by the optimizer's loss scale."""
        gradients = tuple(tf.cast(g, tf.float32) / scale for g in self.gradients)
        loss = None if self.loss is None else float(self.loss) / scale
        return replace(self, gradients=gradients, loss=loss)

    def loss_of_the_loop(self, gradients: Any, predictions: Any) -> Any:
        """A scalar with the same gradient as the loss of that step.

        The name of this function is the loss's name in the measurements: do not rename it.

        Args:
            gradients: the recorded gradients, in index of targets.
            predictions: outputs of the model.
        """
        flat = tf.nest.flatten(predictions)
        pairs = zip(self.output_indexes, gradients, strict=True)
        return tf.add_n([tf.reduce_sum(g * tf.cast(flat[i], tf.float32)) for i, g in pairs])


@dataclass(eq=False)
class _ModelCall:
    """One call of a model, with the gradients that tapes have computed for its outputs."""

    model: KerasModel
    inputs: Any
    outputs: list[Any]
    """The outputs, flattened."""
    tape_gradients: list[tuple[frozenset[int], dict[int, Any]]] = field(default_factory=list)
    """For each call of a tape: the ids of its variables, and the gradients by index of output."""

    def is_here(self) -> bool:
        """Whether the call belongs to the graph that is traced now, not to an earlier trace."""
        return any(tf.is_tensor(tensor) and in_current_graph(tensor) for tensor in self.outputs)

    def gradients_for(self, wanted: frozenset[int]) -> dict[int, Any]:
        """Gradients by index of output, from the last tape that had any of the wanted variables."""
        found = [gradients for ids, gradients in self.tape_gradients if ids & wanted]
        return found[-1] if found else {}


class FirstCalls:
    """Records the calls of models until their first step is over.

    The program's own call of ``tape.gradient`` computes the gradients of their outputs as well, in
    the same backward pass.
    """

    def __init__(self) -> None:
        self._calls: deque[_ModelCall] = deque(maxlen=MAX_REMEMBERED_CALLS)

    def record_call(self, model: KerasModel, inputs: Any, outputs: Any) -> None:
        """Record a call of a model whose first step is not over."""
        self._calls.append(_ModelCall(model, inputs, tf.nest.flatten(outputs)))

    @tf.autograph.experimental.do_not_convert
    def on_tape_gradient(self, call: HookedCall) -> Any:
        """Handle a call of ``tape.gradient``: compute the gradients of recorded outputs as well."""
        tape_call = TapeCall.of(call)
        outputs = [
            (model_call, index)
            for model_call in self._calls
            for index, tensor in enumerate(model_call.outputs)
            if isinstance(tensor, tf.Tensor)
            and tensor.dtype.is_floating
            and in_current_graph(tensor)
        ]
        if not outputs or tape_call.output_gradients is not None:
            return call.proceed()
        result, gradients = tape_call.with_extra(
            call, [model_call.outputs[index] for model_call, index in outputs]
        )
        found: dict[_ModelCall, dict[int, Any]] = {}
        for (model_call, index), gradient in zip(outputs, gradients, strict=True):
            if gradient is not None:
                found.setdefault(model_call, {})[index] = tf.convert_to_tensor(gradient)
        for model_call, by_index in found.items():
            model_call.tape_gradients.append((tape_call.variables, by_index))
        return result

    def step_record(self, model: KerasModel, variables: frozenset[int]) -> StepRecord | None:
        """The record of the step that updates ``variables`` (ids), symbolic while it is traced.

        None if no call of the model is recorded.
        """
        calls = [call for call in self._calls if call.model is model and call.is_here()]
        if not calls:
            return None
        in_loss = [call for call in calls if call.gradients_for(variables)]
        if len(in_loss) != 1:
            why = SEVERAL_CALLS.format(count=len(in_loss)) if in_loss else UNKNOWN_LOSS
            return StepRecord(calls[-1].inputs, reason=why)
        call, gradients = in_loss[0], in_loss[0].gradients_for(variables)
        if model.losses:
            return StepRecord(call.inputs, reason=UNKNOWN_PENALTIES)
        loss = TAPE_TARGETS.loss(variables)
        return StepRecord(call.inputs, tuple(gradients), tuple(gradients.values()), loss=loss)

    def forget_model(self, model: KerasModel) -> None:
        """Forget the calls of a model whose first step is over."""
        self._calls = deque(
            (c for c in self._calls if c.model is not model), maxlen=MAX_REMEMBERED_CALLS
        )


class GraphValues:
    """Stores the values that tensors of a graph have in its first execution.

    Args:
        tensors: symbolic tensors, which give the shapes and dtypes.
    """

    def __init__(self, tensors: Sequence[Any]) -> None:
        with tf.init_scope():
            self._done = plain_variable(False, tf.bool)
            self._values = [_variable_like(tensor) for tensor in tensors]

    def store_in_graph(self, tensors: Sequence[Any]) -> None:
        """Add operations to the current graph that store the values at the first execution.

        Args:
            tensors: tensors of the current graph, like those of the constructor.
        """

        def store() -> Any:
            for variable, tensor in zip(self._values, tensors, strict=True):
                variable.assign(tensor)
            self._done.assign(True)
            return tf.constant(True)

        run_if(tf.logical_not(self._done), store, lambda: tf.constant(False))

    def fill_in(self, record: StepRecord) -> StepRecord:
        """The record with the stored values in index of its symbolic gradients and loss."""
        if not record.gradients:
            return record
        if not bool(self._done):
            return replace(record, gradients=(), loss=None, reason=STEP_FAILED)
        values = [variable.read_value() for variable in self._values]
        count = len(record.gradients)
        loss = values[count] if len(values) > count else None
        return replace(record, gradients=tuple(values[:count]), loss=loss)


def _variable_like(tensor: Any) -> Any:
    """A variable that takes any value of the tensor's partly known shape."""
    shape = [1 if size is None else size for size in tensor.shape.as_list()]
    return plain_variable(tf.zeros(shape, tensor.dtype), tensor.dtype, tensor.shape)
