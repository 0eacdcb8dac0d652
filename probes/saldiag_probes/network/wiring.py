"""Structure of a model: which layers are called, in which order, and what feeds what.

Raw operations are looked through, except those that explain why a model does not learn:
activations, and operations without a gradient, that a model applies between its layers (in a
subclassed ``call``, or as ``keras.ops`` in a functional graph). They are listed as leaf calls of
kind ``op`` under ``PARENT/op:TYPE``. Operations inside a leaf layer's own ``call`` are not listed;
if one of them produces the output of a custom layer, it is that layer's ``activation``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import keras

from saldiag.core.keras_types import (
    GraphOperation,
    KerasLayer,
    KerasModel,
    KerasVariable,
    LossFunction,
    Tensor,
)
from saldiag.core.measurement import LayerCall, Origin, Source, UncalledLayer, Wiring
from saldiag.keras_internals.classes import Functional
from saldiag.keras_internals.layers import flattened_layers, is_keras_layer
from saldiag_probes.loss import compiled_loss
from saldiag_probes.trace import layer_facts
from saldiag_probes.trace.calls import Trace, TracedCall
from saldiag_probes.trace.dataflow import Dataflow
from saldiag_probes.trace.paths import layer_paths

GRADIENT_BLOCKING_OPS = frozenset(
    {
        "ArgMax", "ArgMin", "Ceil", "EagerPyFunc", "Floor", "Greater", "GreaterEqual", "Less",
        "LessEqual", "PyFunc", "PyFuncStateless", "Rint", "Round", "Sign", "StopGradient",
    }
)  # fmt: skip
"""Operations that pass no gradient. A ``Cast`` from float to integer is one as well."""

VALUE_PRESERVING_OPS = frozenset({
    "Cast", "ClipByValue", "ConcatV2", "ExpandDims", "GatherV2", "Identity", "IdentityN", "Max",
    "Maximum", "Mean", "Min", "Minimum", "Pack", "Placeholder", "Reshape", "Slice", "Split",
    "SplitV", "Squeeze", "StopGradient", "StridedSlice", "Transpose", "Unpack",
})  # fmt: skip
"""Operations after which values still lie in the range of the activation before them."""


def add_operations(trace: Trace) -> None:
    """Add the listed raw operations between layers to ``trace.calls``, as calls of kind ``op``."""
    owners = trace.owners()
    flow = Dataflow(trace)
    uses: Counter[str] = Counter()
    calls = []
    for index, op in enumerate(trace.operations()):
        parent = owners[index]
        if (parent is not None and parent.leaf) or not _is_listed(op):
            continue
        if not any(flow.sources_of(tensor) for tensor in op.inputs):
            continue  # made of constants and variables only
        calls.append(_operation_call(op, index, parent, uses))
    trace.calls[:] = sorted([*trace.calls, *calls], key=lambda call: call.first_op)


def _is_listed(op: GraphOperation) -> bool:
    """Whether a raw operation is an activation or blocks the gradient."""
    if op.type == "Cast":
        return bool(op.inputs[0].dtype.is_floating and op.outputs[0].dtype.is_integer)
    takes_floats = any(tensor.dtype.is_floating for tensor in op.inputs)
    return takes_floats and (
        op.type in GRADIENT_BLOCKING_OPS or op.type in layer_facts.ACTIVATION_OPS
    )


def _operation_call(
    op: GraphOperation, index: int, parent: TracedCall | None, uses: Counter[str]
) -> TracedCall:
    path = f"{parent.layer_path}/op:{op.type}" if parent is not None else f"op:{op.type}"
    uses[path] += 1
    return TracedCall(
        path=path if uses[path] == 1 else f"{path}#{uses[path]}",
        layer_path=path,
        layer=None,
        kind="op",
        depth=1 if parent is None else parent.depth + 1,
        parent=parent,
        first_op=index,
        last_op=index + 1,
        op=op,
        inputs=list(op.inputs),
        upstream=list(op.inputs),
        made_by=[None] * len(op.inputs),
        outputs=list(op.outputs),
    )


def describe_wiring(
    model: KerasModel,
    trace: Trace,
    *,
    loss: LossFunction | None = None,
    sources: Mapping[int, Source] | None = None,
    origins: Sequence[Origin] = (),
) -> Wiring:
    """The wiring of a traced model.

    Args:
        model: the traced model.
        trace: its forward pass, with ``add_operations`` applied.
        loss: the loss used in place of the compiled one.
        sources: line of code by ``id(layer)``.
        origins: copied to the result.
    """
    flow = Dataflow(trace)
    facts = compiled_loss.training_facts(model, loss)
    sources_of_outputs = (path for tensor in trace.outputs for path in flow.sources_of(tensor))
    return Wiring(
        model=str(model.name),
        calls=_layer_calls(trace, flow, sources or {}),
        outputs=tuple(dict.fromkeys(sources_of_outputs)),
        precision=str(model.dtype_policy.name),
        parameters=layer_facts.count_parameters(model),
        trainable_parameters=_count_elements(model.trainable_weights),
        origins=tuple(origins),
        operations=_operation_types(trace, flow),
        on_input=_operation_types(trace, flow, sources_are=("",)),
        uncalled=tuple(_uncalled_layers(model, trace, sources or {})),
        own_training=_has_custom_training(model),
        in_losses=tuple(
            dict.fromkeys(p for tensor in trace.added_losses for p in flow.sources_of(tensor) if p)
        ),
        declared=isinstance(model, Functional),
        computed=_postprocessed_outputs(trace, flow),
        **facts,
    )


def _operation_types(
    trace: Trace, flow: Dataflow, *, sources_are: tuple[str, ...] | None = None
) -> tuple[str, ...]:
    """Types of the operations between leaf calls that depend on the model's input.

    With ``sources_are`` only those that depend on exactly these leaf calls.
    """
    owners = trace.owners()
    return tuple(
        sorted({
            op.type
            for index, op in enumerate(trace.operations())
            if not ((owner := owners[index]) is not None and owner.leaf)
            and (found := flow.sources_of_any(op.inputs))
            and sources_are in (None, found)
        })
    )  # fmt: skip


def _postprocessed_outputs(trace: Trace, flow: Dataflow) -> tuple[str, ...]:
    """The last leaf calls whose values are only used by the operations that compute the outputs."""
    unchanged, recomputed = set[str](), dict[str, None]()
    for tensor in trace.outputs:
        if _is_recomputed(tensor, flow):
            recomputed |= dict.fromkeys(flow.sources_of(tensor))
        else:
            unchanged |= set(flow.sources_of(tensor))
    return tuple(path for path in recomputed if path not in unchanged)


def _is_recomputed(tensor: Tensor, flow: Dataflow) -> bool:
    """Whether a tensor is more than a choice, order, average or bound of leaf calls' values."""
    pending = [tensor]
    while pending:
        tensor = pending.pop()
        if flow.is_leaf_output(tensor):
            continue
        if tensor.op.type not in VALUE_PRESERVING_OPS:
            return True
        pending += [source for source in tensor.op.inputs if flow.sources_of(source)]
    return False


def _has_custom_training(model: KerasModel) -> bool:
    custom_step = type(model).train_step is not keras.Model.train_step
    return custom_step or compiled_loss.overrides_compute_loss(model)


def _uncalled_layers(
    model: KerasModel, trace: Trace, sources: Mapping[int, Source]
) -> Iterator[UncalledLayer]:
    """The outermost layers that no call used; layers inside Keras' own layers do not count."""
    called = {call.layer_path for call in trace.calls}
    used = called | {above for path in called for above in _ancestor_paths(path)}
    paths = layer_paths(model)
    layers = {paths[id(layer)]: layer for layer in flattened_layers(model) if id(layer) in paths}
    for path, layer in layers.items():
        above = [layers[parent] for parent in _ancestor_paths(path) if parent in layers]
        listed = path not in used and not isinstance(layer, keras.layers.InputLayer)
        whole = all(paths[id(parent)] in used for parent in above)
        if path and listed and whole and not any(_decides_its_calls(parent) for parent in above):
            yield _uncalled_layer(path, layer, sources.get(id(layer)))


def _uncalled_layer(path: str, layer: KerasLayer, source: Source | None) -> UncalledLayer:
    inside = flattened_layers(layer)
    return UncalledLayer(
        path=path,
        kinds=tuple(dict.fromkeys(type(part).__name__ for part in inside)),
        trainable=bool(layer.trainable),
        built=all(part.built for part in inside),
        parameters=_count_elements(layer.trainable_weights),
        source=source,
    )


def _ancestor_paths(path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]


def _decides_its_calls(layer: KerasLayer) -> bool:
    """Whether the layer is one of Keras' own, which may leave layers inside it uncalled."""
    return not isinstance(layer, keras.Model) and not _is_custom_layer(layer)


def _count_elements(weights: Iterable[KerasVariable]) -> int:
    return sum(int(weight.shape.num_elements()) for weight in weights)


def _layer_calls(
    trace: Trace, flow: Dataflow, sources: Mapping[int, Source]
) -> tuple[LayerCall, ...]:
    """The calls in order, each with the first call of its layer on the same tensors."""
    first: dict[tuple[Any, ...], str] = {}
    found = []
    for call in trace.calls:
        described = _layer_call(call, flow, sources)
        if call.layer is not None and call.skipped is None and call.upstream:
            key = (id(call.layer), *(_source_tensor_name(tensor) for tensor in call.upstream))
            earlier = first.setdefault(key, call.path)
            described = replace(described, repeats=earlier if earlier != call.path else None)
        found.append(described)
    return tuple(found)


def _source_tensor_name(tensor: Tensor) -> str:
    """The name of the tensor at the start of a chain of identities."""
    while tensor.op.type == "Identity":
        tensor = tensor.op.inputs[0]
    return str(tensor.name)


def _layer_call(call: TracedCall, flow: Dataflow, sources: Mapping[int, Source]) -> LayerCall:
    layer = call.layer
    return LayerCall(
        path=call.path,
        layer=call.layer_path,
        kind=call.kind,
        depth=call.depth,
        leaf=call.leaf,
        inputs=flow.sources_of_call(call),
        input_shapes=tuple(_static_shape(t) for t in call.inputs if not t.dtype.is_bool),
        output_shapes=tuple(_static_shape(t) for t in call.outputs),
        activation=call_activation(call),
        axis=_softmax_axis(call),
        trainable=bool(layer.trainable) if layer is not None else False,
        parameters=layer_facts.count_parameters(layer) if layer is not None else 0,
        config=layer_facts.plain_config(layer) if layer is not None else {},
        source=sources.get(id(layer)) or sources.get(id(call.parent and call.parent.layer)),
    )


def call_activation(call: TracedCall) -> str | None:
    """The activation that a call applies; for a custom layer it is read from the graph."""
    if call.layer is None:
        assert call.op is not None
        return layer_facts.ACTIVATION_OPS.get(call.op.type)
    named = layer_facts.activation_name(call.layer)
    if named is not None or not call.leaf or not call.outputs or not _is_custom_layer(call.layer):
        return named
    inside = call.first_op <= _output_position(call) < call.last_op
    return layer_facts.activation_of_op(call.outputs[0]) if inside else None


def _is_custom_layer(layer: KerasLayer) -> bool:
    return isinstance(layer, keras.layers.Lambda) or not is_keras_layer(layer)


def _output_position(call: TracedCall) -> int:
    """The first operation of the call, or ``last_op`` if the layer returned one of its inputs."""
    is_new = call.outputs[0].name not in {tensor.name for tensor in call.inputs}
    return call.first_op if is_new else call.last_op


def _softmax_axis(call: TracedCall) -> int | None:
    rank = call.outputs[0].shape.rank if call.outputs else None
    if call.layer is not None and layer_facts.activation_name(call.layer) is not None:
        return layer_facts.activation_axis(call.layer, rank)
    if call_activation(call) not in {"softmax", "log_softmax"} or not rank:
        return None
    # TensorFlow's softmax normalises over the last axis. For another axis Keras transposes around
    # it; a raw operation's shapes are those between the transpositions.
    last = call.op is not None or call.outputs[0].op.type in {"Softmax", "LogSoftmax"}
    return rank - 1 if last else None


def _static_shape(tensor: Tensor) -> tuple[int | None, ...]:
    if tensor.shape.rank is None:
        return (None,)
    return tuple(None if axis == 0 else size for axis, size in enumerate(tensor.shape.as_list()))
