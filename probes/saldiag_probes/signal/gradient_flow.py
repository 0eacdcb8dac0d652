"""Gradient flow: where on its way from the loss to the input the signal dies.

One backward pass through the traced graph gives the gradient at the output and at every input of
every layer call, and those of the trainable variables. Under a loss scale (mixed_float16 with a
``LossScaleOptimizer``) the loss is multiplied by the optimizer's present scale and the norms are
divided by it; where that overflows, the pass is repeated with a sixteenth of the scale, up to four
times, as a dynamic loss scale would in the end (Micikevicius et al., 2018, section 3.2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf

from saldiag.core.measurement import Array, FlowRow, GradientFlow, VariableGradient
from saldiag.keras_internals.compilation import loss_method
from saldiag.keras_internals.graphs import NOT_INLINED, has_own_gradient
from saldiag.keras_internals.tensors import logits_behind
from saldiag_probes.loss import compiled_loss
from saldiag_probes.trace.paths import variable_paths
from saldiag_probes.trace.recorder import Batch, Call, CannotMeasure, Trace, explain

Loss = Callable[[Any, Any], Any]
K = TypeVar("K")
SCALE_BACKOFF, SCALE_TRIES = 16.0, 5
CUSTOM_GRADIENT = "runs inside a function with a gradient of its own (rematerialisation)"


def loss_of(model: Any, trace: Trace, batch: Batch, loss: Loss | None, *, training: bool) -> Any:
    """The scalar loss of the traced predictions, regularisation included, as training has it.

    Args:
        model: a compiled model, unless ``loss`` is given.
        trace: the forward pass; its output tensors keep what Keras left on them.
        batch: targets and sample weights.
        loss: ``loss(y, y_pred)`` in place of the compiled loss.
        training: passed on to the model's ``compute_loss``.

    Raises:
        CannotMeasure: there is no loss, or it cannot be computed for this batch.
    """
    if loss is None and not getattr(model, "compiled", False):
        raise CannotMeasure("the model is not compiled and no loss was given")
    try:
        if loss is not None:
            value = tf.add_n([tf.reduce_mean(loss(batch.y, trace.y_pred)), *_penalties(model)])
        else:
            value = loss_method(model)(
                x=batch.x,
                y=batch.y,
                y_pred=trace.y_pred,
                sample_weight=batch.sample_weight,
                training=training,
            )
    except Exception as error:
        raise CannotMeasure(f"the loss cannot be computed: {explain(error)}") from error
    if value is None:
        raise CannotMeasure("compute_loss returned no loss")
    return tf.convert_to_tensor(value)


def _penalties(model: Any) -> list[Any]:
    """Regularisation and ``add_loss`` terms in the dtype of a mean loss."""
    return [tf.cast(tf.reduce_sum(penalty), tf.float32) for penalty in model.losses]


def initial_scale(model: Any) -> float:
    """The factor that the optimizer puts on the loss at present; 1 without loss scaling."""
    return compiled_loss.loss_scale(getattr(model, "optimizer", None))


@dataclass(eq=False)
class FlowPlan:
    """The gradients in the graph: which number of ``fetch`` belongs to which tensor.

    ``fetch["tensors"]`` (tensors) holds squared norms; ``fetch["variables"]`` (variables, 3)
    squared norm, zeros and non-finite values; all float64, of the gradient of the scaled loss.
    """

    trace: Trace
    variables: list[Any]
    tensor_slots: dict[str, int]
    variable_slots: dict[int, int]
    fetch: dict[str, Any]


def plan(trace: Trace, loss: Any, scale: Any, variables: Iterable[Any]) -> FlowPlan:
    """Add the backward pass of ``loss * scale`` to the graph.

    Raises:
        CannotMeasure: an operation on the way has no gradient function.
    """
    variables = list(variables)
    tensors = {t.name: t for call in trace.calls for t in _measured(call)}
    scaled = loss * tf.cast(scale, loss.dtype)
    try:
        found = tf.gradients(scaled, [*tensors.values(), *(v.value for v in variables)])
        by_name = dict(zip(tensors, found, strict=False))
        for call in trace.calls:
            by_name.update(_at_operation(call, by_name) if call.op is not None else {})
            by_name.update(_at_logits(call, by_name))
    except (LookupError, TypeError, ValueError) as error:
        raise CannotMeasure(f"no gradient can be taken: {explain(error)}") from error
    by_name = {name: g for name, g in by_name.items() if g is not None}
    by_variable = {i: g for i, g in enumerate(found[len(tensors) :]) if g is not None}
    fetch = {
        "tensors": _stack([_square(g) for g in by_name.values()], []),
        "variables": _stack([_variable_facts(g) for g in by_variable.values()], [3]),
    }
    return FlowPlan(trace, variables, _slots(by_name), _slots(by_variable), fetch)


def _slots(found: Mapping[K, Any]) -> dict[K, int]:
    return {key: i for i, key in enumerate(found)}


def _stack(rows: list[Any], shape: list[int]) -> Any:
    return tf.stack(rows) if rows else tf.zeros([0, *shape], tf.float64)


def _measured(call: Call) -> list[Any]:
    """The float tensors of a call whose gradient the backward pass shall give."""
    if call.skipped is not None:
        return []
    logits = [logits for t in call.outputs if (logits := _logits(t)) is not None]
    inputs = [] if call.op is not None else call.inputs
    return [t for t in (*call.outputs, *inputs, *logits) if t.dtype.is_floating]


def _logits(tensor: Any) -> Any:
    """What Keras' cross-entropies take in place of a softmax's or sigmoid's output, if anything."""
    left_behind = logits_behind(tensor)
    if left_behind is None and tensor.op.type in {"Softmax", "Sigmoid"}:
        left_behind = tensor.op.inputs[0]
    reachable = tf.is_tensor(left_behind) and getattr(left_behind, "graph", None) is tensor.graph
    return left_behind if reachable else None


def _at_logits(call: Call, found: dict[str, Any]) -> dict[str, Any]:
    """The gradient at the logits, for outputs that the loss passed over in their favour."""
    stand_ins = {}
    for tensor in call.outputs if call.skipped is None else []:
        logits = _logits(tensor)
        if found.get(tensor.name) is None and logits is not None:
            stand_ins[tensor.name] = found.get(logits.name)
            if call.op is not None:
                stand_ins[_operation_input(call, 0)] = found.get(logits.name)
    return stand_ins


def _at_operation(call: Call, found: dict[str, Any]) -> dict[str, Any]:
    """Gradients at the inputs of one raw operation: they have no identity of their own."""
    given = [(t, found[t.name]) for t in call.outputs if found.get(t.name) is not None]
    floats = [(i, t) for i, t in enumerate(call.inputs) if t.dtype.is_floating]
    if not given or not floats:
        return {}
    ends, starts = [t for t, _ in given], [t for _, t in floats]
    gradients = tf.gradients(ends, starts, grad_ys=[g for _, g in given])
    keys = [_operation_input(call, i) for i, _ in floats]
    return dict(zip(keys, gradients, strict=True))


def _operation_input(call: Call, index: int) -> str:
    return f"{call.op.name}<{index}"


def _square(gradient: Any) -> Any:
    """Sum of squares, as float64."""
    values = _dense_rows(gradient)
    if values.dtype == tf.float64:
        return 2.0 * tf.nn.l2_loss(values)
    return _safe_square(tf.reshape(tf.cast(values, tf.float32), [-1]))


@tf.function(
    autograph=False,
    experimental_attributes=NOT_INLINED,
    input_signature=[tf.TensorSpec([None], tf.float32)],
)
def _safe_square(values: Any) -> Any:
    """In float32 where that is safe, else in float64, where no square over- or underflows."""
    quick = tf.nn.l2_loss(values)
    safe = (quick > 1e-25) & (quick < 1e37)
    half = tf.cond(
        safe,
        lambda: tf.cast(quick, tf.float64),
        lambda: tf.nn.l2_loss(tf.cast(values, tf.float64)),
    )
    return 2.0 * half


def _dense_rows(gradient: Any) -> Any:
    """The rows of a gradient that are not zero by construction; rows that occur twice add up."""
    if not isinstance(gradient, tf.IndexedSlices):
        return gradient
    rows, places = tf.unique(gradient.indices)
    return tf.math.unsorted_segment_sum(gradient.values, places, tf.size(rows))


def _variable_facts(gradient: Any) -> Any:
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
def _flat_facts(values: Any, size: Any) -> Any:
    """Squared norm, zeros, non-finite values; traced once for gradients of every shape."""
    nonzero = tf.math.count_nonzero(values, dtype=tf.float64)
    nonfinite = tf.math.count_nonzero(~tf.math.is_finite(values), dtype=tf.float64)
    return tf.stack([2.0 * tf.nn.l2_loss(values), size - nonzero, nonfinite])


def overflowed(fetched: Mapping[str, Array]) -> bool:
    """Whether any gradient held a value that is not finite."""
    return not all(bool(np.isfinite(values).all()) for values in fetched.values())


def describe(
    model: Any,
    flow: FlowPlan,
    fetched: Mapping[str, Array],
    *,
    scale: float,
    loss: float,
    training: bool,
) -> GradientFlow:
    """The measurement, from the fetched numbers and the scale that the loss was multiplied by."""
    squares = fetched["tensors"]
    norms = {name: float(np.sqrt(squares[i])) / scale for name, i in flow.tensor_slots.items()}
    hidden = hidden_tensors(flow.trace)
    paths = variable_paths(model)
    return GradientFlow(
        rows=tuple(_row(call, norms, hidden) for call in flow.trace.calls),
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


def _row(call: Call, norms: dict[str, float], hidden: set[str]) -> FlowRow:
    floats = [t.dtype.is_floating for t in call.inputs]
    keys = [t.name for t in call.inputs]
    if call.op is not None:
        keys = [_operation_input(call, i) for i in range(len(keys))]
    output = _total(norms.get(t.name) for t in call.outputs)
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
        input_gradient=None if call.skipped else _total(norms.get(key) for key in keys),
        differentiable_input=any(floats),
        skipped=skipped,
    )


def _total(norms: Iterable[float | None]) -> float | None:
    present = [norm for norm in norms if norm is not None]
    return sum(present) if present else None


def _variable_row(
    variable: Any, path: tuple[str, str], facts: Array | None, scale: float
) -> VariableGradient:
    layer, name = path
    if facts is None:
        return VariableGradient(name, layer, None, float("nan"), float("nan"))
    size = max(int(variable.shape.num_elements()), 1)
    square, zeros, nonfinite = (float(fact) for fact in facts)
    return VariableGradient(name, layer, square**0.5 / scale, zeros / size, nonfinite / size)


def hidden_tensors(trace: Trace) -> set[str]:
    """Names of the tensors inside functions that bring their own gradient.

    ``tf.custom_gradient`` ends in an ``IdentityN`` of its results and arguments, whose gradient
    goes to the arguments at once; nothing flows through the tensors in between, though they do
    have a gradient in the mathematical sense.
    """
    hidden: set[str] = set()
    for op in trace.operations():
        if has_own_gradient(op):
            hidden |= _between(op)
    return hidden


def _between(op: Any) -> set[str]:
    """Tensors that the results of a custom gradient are made of, down to its arguments."""
    stops = {tensor.name for tensor in op.inputs}
    # Nobody uses the identities of the arguments; the first is a result in any case.
    used = [i == 0 or bool(out.consumers()) for i, out in enumerate(op.outputs)]
    pending = [tensor for tensor, is_used in zip(op.inputs, used, strict=True) if is_used]
    found = {tensor.name for tensor in pending}
    while pending:
        for tensor in pending.pop().op.inputs:
            if tensor.name not in found and tensor.name not in stops:
                found.add(tensor.name)
                pending.append(tensor)
    return found
