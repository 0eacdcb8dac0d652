"""Gradient flow: where the gradient vanishes or explodes on its way from the loss to the input.

One backward pass through the traced graph gives the gradient at the output and at every input of
every layer call, and those of the trainable variables. With loss scaling (mixed_float16 with a
``LossScaleOptimizer``) the loss is multiplied by the optimizer's current scale and the norms are
divided by it. If that overflows, the pass is repeated with a sixteenth of the scale, up to four
times, as dynamic loss scaling would do over several steps (Micikevicius et al., 2018, section 3.2).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf

from saldiag.core.keras_types import (
    Gradient,
    KerasModel,
    KerasVariable,
    LossFunction,
    Tensor,
)
from saldiag.core.measurement import Array, FlowRow, GradientFlow, VariableGradient
from saldiag.keras_internals.compilation import loss_method
from saldiag.keras_internals.graphs import NOT_INLINED, logits_behind
from saldiag_probes.loss import compiled_loss
from saldiag_probes.signal.custom_gradients import hidden_tensors
from saldiag_probes.trace.batch import Batch
from saldiag_probes.trace.calls import Trace, TracedCall
from saldiag_probes.trace.errors import CannotMeasure, error_summary
from saldiag_probes.trace.paths import variable_paths

Key = TypeVar("Key")
SCALE_BACKOFF, MAX_SCALE_TRIES = 16.0, 5
"""Divisor of the loss scale after an overflow; number of passes in all."""
CUSTOM_GRADIENT = "runs inside a function with a custom gradient (rematerialisation)"
"""Reason in ``FlowRow.skipped``."""


def traced_loss(
    model: KerasModel, trace: Trace, batch: Batch, loss: LossFunction | None, *, training: bool
) -> Tensor:
    """The scalar loss of the traced predictions, regularisation included, as in training.

    Args:
        model: a compiled model, unless ``loss`` is given.
        trace: the forward pass; its output tensors keep the attributes that Keras left on them.
        batch: targets and sample weights.
        loss: ``loss(y, y_pred)``, used in place of the compiled loss.
        training: passed to the model's ``compute_loss``.

    Raises:
        CannotMeasure: there is no loss, or it cannot be computed for this batch.
    """
    if loss is None and not getattr(model, "compiled", False):
        raise CannotMeasure("the model is not compiled, and no loss was passed")
    try:
        if loss is not None:
            value = tf.add_n(
                [tf.reduce_mean(loss(batch.y, trace.y_pred)), *_regularization_losses(model)]
            )
        else:
            value = loss_method(model)(
                x=batch.x,
                y=batch.y,
                y_pred=trace.y_pred,
                sample_weight=batch.sample_weight,
                training=training,
            )
    except Exception as error:
        raise CannotMeasure(f"the loss cannot be computed: {error_summary(error)}") from error
    if value is None:
        raise CannotMeasure("compute_loss returned None")
    return tf.convert_to_tensor(value)


def _regularization_losses(model: KerasModel) -> list[Any]:
    """Regularisation and ``add_loss`` terms in the dtype of a mean loss."""
    return [tf.cast(tf.reduce_sum(penalty), tf.float32) for penalty in model.losses]


def initial_scale(model: KerasModel) -> float:
    """The factor by which the optimizer scales the loss at present; 1 without loss scaling."""
    return compiled_loss.loss_scale(getattr(model, "optimizer", None))


@dataclass(eq=False)
class FlowPlan:
    """The gradients to fetch from the graph, of the loss times the scale."""

    trace: Trace
    """The forward pass."""
    variables: list[KerasVariable]
    """The model's trainable variables."""
    tensor_slots: dict[str, int]
    """Position in ``fetch["tensors"]`` by key of a tensor; missing if it has no gradient."""
    variable_slots: dict[int, int]
    """Row in ``fetch["variables"]`` by index in ``variables``; missing if it has no gradient."""
    fetch: dict[str, Any]
    """``tensors``: squared gradient norms, (T) float64. ``variables``: squared norm, number of
    zeros and of non-finite values of each gradient, (V, 3) float64."""


def plan_gradient_flow(
    trace: Trace, loss: Tensor, scale: Tensor, variables: Iterable[KerasVariable]
) -> FlowPlan:
    """Add the backward pass of ``loss * scale`` to the graph.

    Args:
        trace: the forward pass in the current graph.
        loss: the scalar loss tensor.
        scale: the loss scale, a scalar tensor.
        variables: the trainable variables.

    Raises:
        CannotMeasure: an operation on the path has no gradient function.
    """
    variables = list(variables)
    # One call of tf.gradients for everything: a second backward pass would double the cost.
    tensors = {t.name: t for call in trace.calls for t in _measured_tensors(call)}
    scaled = loss * tf.cast(scale, loss.dtype)
    try:
        found = tf.gradients(scaled, [*tensors.values(), *(v.value for v in variables)])
        by_name = dict(zip(tensors, found, strict=False))
        # A raw operation has no identity at its inputs, and a loss from logits bypasses the output:
        # both gradients are derived from those found above, in the order of the calls.
        for call in trace.calls:
            by_name.update(_gradients_at_operation(call, by_name) if call.op is not None else {})
            by_name.update(_gradients_at_logits(call, by_name))
    except (LookupError, TypeError, ValueError) as error:
        raise CannotMeasure(f"the loss cannot be differentiated: {error_summary(error)}") from error
    by_name = {name: g for name, g in by_name.items() if g is not None}
    by_variable = {i: g for i, g in enumerate(found[len(tensors) :]) if g is not None}
    fetch = {
        "tensors": _stack_rows([_squared_norm(g) for g in by_name.values()], []),
        "variables": _stack_rows([_variable_facts(g) for g in by_variable.values()], [3]),
    }
    return FlowPlan(trace, variables, _slot_numbers(by_name), _slot_numbers(by_variable), fetch)


def _slot_numbers(found: Mapping[Key, Any]) -> dict[Key, int]:
    return {key: i for i, key in enumerate(found)}


def _stack_rows(rows: list[Any], shape: list[int]) -> Tensor:
    return tf.stack(rows) if rows else tf.zeros([0, *shape], tf.float64)


def _measured_tensors(call: TracedCall) -> list[Any]:
    """The float tensors of a call whose gradient the backward pass has to give."""
    if call.skipped is not None:
        return []
    logits = [logits for t in call.outputs if (logits := _attached_logits(t)) is not None]
    inputs = [] if call.op is not None else call.inputs
    return [t for t in (*call.outputs, *inputs, *logits) if t.dtype.is_floating]


def _attached_logits(tensor: Tensor) -> Tensor:
    """The logits that Keras' cross-entropies use in place of a softmax or sigmoid; None if none."""
    logits = logits_behind(tensor)
    if logits is None and tensor.op.type in {"Softmax", "Sigmoid"}:
        logits = tensor.op.inputs[0]
    reachable = tf.is_tensor(logits) and getattr(logits, "graph", None) is tensor.graph
    return logits if reachable else None


def _gradients_at_logits(call: TracedCall, found: dict[str, Any]) -> dict[str, Any]:
    """The gradients at the logits, for outputs that the loss bypasses by using the logits."""
    gradients = {}
    for tensor in call.outputs if call.skipped is None else []:
        logits = _attached_logits(tensor)
        if found.get(tensor.name) is None and logits is not None:
            gradients[tensor.name] = found.get(logits.name)
            if call.op is not None:
                gradients[_operation_input(call, 0)] = found.get(logits.name)
    return gradients


def _gradients_at_operation(call: TracedCall, found: dict[str, Any]) -> dict[str, Any]:
    """Gradients at the inputs of one raw operation, which are not wrapped in identities."""
    with_gradient = [(t, found[t.name]) for t in call.outputs if found.get(t.name) is not None]
    floats = [(i, t) for i, t in enumerate(call.inputs) if t.dtype.is_floating]
    if not with_gradient or not floats:
        return {}
    ends, starts = [t for t, _ in with_gradient], [t for _, t in floats]
    gradients = tf.gradients(ends, starts, grad_ys=[g for _, g in with_gradient])
    keys = [_operation_input(call, i) for i, _ in floats]
    return dict(zip(keys, gradients, strict=True))


def _operation_input(call: TracedCall, index: int) -> str:
    """Key of a raw operation's input, which can be shared with other consumers."""
    assert call.op is not None
    return f"{call.op.name}<{index}"


def _squared_norm(gradient: Gradient) -> Tensor:
    """Sum of squares, as float64."""
    values = _dense_rows(gradient)
    if values.dtype == tf.float64:
        return 2.0 * tf.nn.l2_loss(values)
    return _safe_squared_norm(tf.reshape(tf.cast(values, tf.float32), [-1]))


@tf.function(
    autograph=False,
    experimental_attributes=NOT_INLINED,
    input_signature=[tf.TensorSpec([None], tf.float32)],
)
def _safe_squared_norm(values: Tensor) -> Tensor:
    """In float32 if no square can overflow or underflow, otherwise in float64."""
    half_norm = tf.nn.l2_loss(values)
    safe = (half_norm > 1e-25) & (half_norm < 1e37)
    # l2_loss is half the sum of squares, in one pass over the values.
    half = tf.cond(
        safe,
        lambda: tf.cast(half_norm, tf.float64),
        lambda: tf.nn.l2_loss(tf.cast(values, tf.float64)),
    )
    return 2.0 * half


def _dense_rows(gradient: Gradient) -> Tensor:
    """The rows of a gradient that are not zero by construction; repeated rows are summed."""
    if not isinstance(gradient, tf.IndexedSlices):
        return gradient
    rows, positions = tf.unique(gradient.indices)
    return tf.math.unsorted_segment_sum(gradient.values, positions, tf.size(rows))


def _variable_facts(gradient: Gradient) -> Tensor:
    values = tf.reshape(_dense_rows(gradient), [-1])
    size = tf.cast(tf.size(values), tf.float64)
    if isinstance(gradient, tf.IndexedSlices) and gradient.dense_shape is not None:
        size = tf.reduce_prod(tf.cast(gradient.dense_shape, tf.float64))
    return _flat_facts(tf.cast(values, tf.float64), size)


@tf.function(
    autograph=False,
    experimental_attributes=NOT_INLINED,
    input_signature=[tf.TensorSpec([None], tf.float64), tf.TensorSpec([], tf.float64)],
)
def _flat_facts(values: Tensor, size: Any) -> Tensor:
    """Squared norm, zeros, non-finite values; traced once for gradients of every shape."""
    nonzero = tf.math.count_nonzero(values, dtype=tf.float64)
    nonfinite = tf.math.count_nonzero(~tf.math.is_finite(values), dtype=tf.float64)
    return tf.stack([2.0 * tf.nn.l2_loss(values), size - nonzero, nonfinite])


def has_nonfinite_values(fetched: Mapping[str, Array]) -> bool:
    """Whether any fetched gradient statistic is not finite."""
    return not all(bool(np.isfinite(values).all()) for values in fetched.values())


def describe_gradient_flow(
    model: KerasModel,
    flow: FlowPlan,
    fetched: Mapping[str, Array],
    *,
    scale: float,
    loss: float,
    training: bool,
) -> GradientFlow:
    """The measurement.

    Args:
        model: the traced model.
        flow: the plan whose tensors were fetched.
        fetched: the fetched numbers, in the structure of ``flow.fetch``.
        scale: the loss scale of the pass; norms are divided by it.
        loss: the value of the loss, unscaled.
        training: the mode of the pass.
    """
    squares = fetched["tensors"]
    norms = {name: float(np.sqrt(squares[i])) / scale for name, i in flow.tensor_slots.items()}
    hidden = hidden_tensors(flow.trace)
    paths = variable_paths(model)
    return GradientFlow(
        rows=tuple(_flow_row(call, norms, hidden) for call in flow.trace.calls),
        variables=tuple(
            _variable_row(variable, paths[id(variable)], _facts_of(i, flow, fetched), scale)
            for i, variable in enumerate(flow.variables)
        ),
        loss=loss,
        training=training,
    )


def _facts_of(index: int, flow: FlowPlan, fetched: Mapping[str, Array]) -> Array | None:
    slot = flow.variable_slots.get(index)
    facts: Array | None = None if slot is None else fetched["variables"][slot]
    return facts


def _flow_row(call: TracedCall, norms: dict[str, float], hidden: set[str]) -> FlowRow:
    floats = [t.dtype.is_floating for t in call.inputs]
    keys = [t.name for t in call.inputs]
    if call.op is not None:
        keys = [_operation_input(call, i) for i in range(len(keys))]
    output = _sum_present(norms.get(t.name) for t in call.outputs)
    skipped = call.skipped
    if skipped is None and output is None and any(t.name in hidden for t in call.outputs):
        skipped = CUSTOM_GRADIENT
    return FlowRow(
        path=call.path,
        layer=call.layer_path,
        kind=call.kind,
        depth=call.depth,
        leaf=call.leaf,
        output_gradient=output,
        input_gradient=None if call.skipped else _sum_present(norms.get(key) for key in keys),
        differentiable_input=any(floats),
        skipped=skipped,
    )


def _sum_present(norms: Iterable[float | None]) -> float | None:
    """Sum of the norms that exist; None if none does."""
    present = [norm for norm in norms if norm is not None]
    return sum(present) if present else None


def _variable_row(
    variable: KerasVariable, path: tuple[str, str], facts: Array | None, scale: float
) -> VariableGradient:
    layer, name = path
    if facts is None:
        return VariableGradient(name, layer, None, float("nan"), float("nan"))
    size = max(int(variable.shape.num_elements()), 1)
    square, zeros, nonfinite = (float(fact) for fact in facts)
    return VariableGradient(name, layer, square**0.5 / scale, zeros / size, nonfinite / size)
