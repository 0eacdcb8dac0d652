"""How a model is put together: which layers are called, in which order, and what feeds what.

Raw operations are looked through, with the exception of those that explain why a model does not
learn: activations, and operations without a gradient, that a model applies between its layers (in
a subclassed ``call``, or as ``keras.ops`` in a functional graph). These stand in the list as leaf
calls of kind ``op`` under ``PARENT/op:TYPE``. Operations inside a leaf layer's own ``call`` are not
listed; if one of them makes the output of a layer that Keras does not know, it is the layer's
``activation``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import keras

from saldiag.core.measurement import LayerCall, Origin, Source, UncalledLayer, Wiring
from saldiag.keras_internals.classes import Functional
from saldiag.keras_internals.layers import flattened_layers, is_keras_layer
from saldiag_probes.loss import compiled_loss
from saldiag_probes.trace import layer_facts
from saldiag_probes.trace.dataflow import Dataflow
from saldiag_probes.trace.paths import layer_paths
from saldiag_probes.trace.recorder import Call, Trace

CUTS = frozenset(
    {
        "ArgMax", "ArgMin", "Ceil", "EagerPyFunc", "Floor", "Greater", "GreaterEqual", "Less",
        "LessEqual", "PyFunc", "PyFuncStateless", "Rint", "Round", "Sign", "StopGradient",
    }
)  # fmt: skip
"""Operations that no gradient passes. A Cast from float to integer is one as well."""

HANDING_ON = frozenset({
    "Cast", "ClipByValue", "ConcatV2", "ExpandDims", "GatherV2", "Identity", "IdentityN", "Max",
    "Maximum", "Mean", "Min", "Minimum", "Pack", "Placeholder", "Reshape", "Slice", "Split",
    "SplitV", "Squeeze", "StopGradient", "StridedSlice", "Transpose", "Unpack",
})  # fmt: skip
"""Operations after which numbers still lie where an activation put them."""


def add_operations(trace: Trace) -> None:
    """Add the operations between layers that matter to ``trace.calls``, as calls of kind ``op``."""
    owners = trace.owners()
    depends = Dataflow(trace)
    uses: Counter[str] = Counter()
    found = []
    for index, op in enumerate(trace.operations()):
        parent = owners[index]
        if (parent is not None and parent.leaf) or not _matters(op):
            continue
        if not any(depends.of(tensor) for tensor in op.inputs):
            continue  # made of constants and variables only
        found.append(_operation_call(op, index, parent, uses))
    trace.calls[:] = sorted([*trace.calls, *found], key=lambda call: call.first_op)


def _matters(op: Any) -> bool:
    if op.type == "Cast":
        return bool(op.inputs[0].dtype.is_floating and op.outputs[0].dtype.is_integer)
    takes_floats = any(tensor.dtype.is_floating for tensor in op.inputs)
    return takes_floats and (op.type in CUTS or op.type in layer_facts.ACTIVATION_OPS)


def _operation_call(op: Any, index: int, parent: Call | None, uses: Counter[str]) -> Call:
    path = f"{parent.layer_path}/op:{op.type}" if parent is not None else f"op:{op.type}"
    uses[path] += 1
    return Call(
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


def describe(
    model: Any,
    trace: Trace,
    *,
    loss: Any = None,
    sources: Mapping[int, Source] | None = None,
    origins: Sequence[Origin] = (),
) -> Wiring:
    """The wiring of a traced model; ``sources`` gives a layer's line of code by ``id(layer)``."""
    flow = Dataflow(trace)
    facts = compiled_loss.training_facts(model, loss)
    ends = (path for tensor in trace.outputs for path in flow.of(tensor))
    return Wiring(
        model=str(model.name),
        calls=_layer_calls(trace, flow, sources or {}),
        outputs=tuple(dict.fromkeys(ends)),
        precision=str(model.dtype_policy.name),
        parameters=layer_facts.parameters(model),
        trainable_parameters=_count(model.trainable_weights),
        origins=tuple(origins),
        operations=_operations(trace, flow),
        on_input=_operations(trace, flow, sources_are=("",)),
        uncalled=tuple(_uncalled(model, trace, sources or {})),
        own_training=_trains_by_itself(model),
        in_losses=tuple(dict.fromkeys(p for tensor in trace.added for p in flow.of(tensor) if p)),
        declared=isinstance(model, Functional),
        computed=_computed(trace, flow),
        **facts,
    )


def _operations(
    trace: Trace, flow: Dataflow, *, sources_are: tuple[str, ...] | None = None
) -> tuple[str, ...]:
    """Types of the operations between leaf calls that depend on the model's input.

    With ``sources_are`` only those to which these leaf calls come, and no others.
    """
    owners = trace.owners()
    return tuple(
        sorted({
            op.type
            for index, op in enumerate(trace.operations())
            if not ((owner := owners[index]) is not None and owner.leaf)
            and (found := flow.union(op.inputs))
            and sources_are in (None, found)
        })
    )  # fmt: skip


def _computed(trace: Trace, flow: Dataflow) -> tuple[str, ...]:
    """The last leaf calls whose numbers no output is, for operations make other ones of them."""
    handed_on, made_anew = set[str](), dict[str, None]()
    for tensor in trace.outputs:
        if _is_made_anew(tensor, flow):
            made_anew |= dict.fromkeys(flow.of(tensor))
        else:
            handed_on |= set(flow.of(tensor))
    return tuple(path for path in made_anew if path not in handed_on)


def _is_made_anew(tensor: Any, flow: Dataflow) -> bool:
    """Whether more is done to what leaf calls gave than to choose, order, average or bound it."""
    waiting = [tensor]
    while waiting:
        tensor = waiting.pop()
        if flow.is_given_by_leaf(tensor):
            continue
        if tensor.op.type not in HANDING_ON:
            return True
        waiting += [source for source in tensor.op.inputs if flow.of(source)]
    return False


def _trains_by_itself(model: Any) -> bool:
    own_step = type(model).train_step is not keras.Model.train_step
    return own_step or compiled_loss.overrides_compute_loss(model)


def _uncalled(model: Any, trace: Trace, sources: Mapping[int, Source]) -> Iterator[UncalledLayer]:
    """The outermost layers that no call used; what Keras' own layers hold is their business."""
    called = {call.layer_path for call in trace.calls}
    used = called | {above for path in called for above in _upward(path)}
    paths = layer_paths(model)
    layers = {paths[id(layer)]: layer for layer in flattened_layers(model) if id(layer) in paths}
    for path, layer in layers.items():
        above = [layers[parent] for parent in _upward(path) if parent in layers]
        listed = path not in used and not isinstance(layer, keras.layers.InputLayer)
        whole = all(paths[id(parent)] in used for parent in above)
        if path and listed and whole and not any(_closed(parent) for parent in above):
            yield _uncalled_layer(path, layer, sources.get(id(layer)))


def _uncalled_layer(path: str, layer: Any, source: Source | None) -> UncalledLayer:
    inside = flattened_layers(layer)
    return UncalledLayer(
        path=path,
        kinds=tuple(dict.fromkeys(type(part).__name__ for part in inside)),
        trainable=bool(layer.trainable),
        built=all(part.built for part in inside),
        parameters=_count(layer.trainable_weights),
        source=source,
    )


def _upward(path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]


def _closed(layer: Any) -> bool:
    """Whether a layer of Keras' own decides which of its parts it calls."""
    return not isinstance(layer, keras.Model) and not _is_custom(layer)


def _count(weights: Iterable[Any]) -> int:
    return sum(int(weight.shape.num_elements()) for weight in weights)


def _layer_calls(
    trace: Trace, flow: Dataflow, sources: Mapping[int, Source]
) -> tuple[LayerCall, ...]:
    """The calls in order, each with the first one of its layer that got the same tensors."""
    first: dict[tuple[Any, ...], str] = {}
    found = []
    for call in trace.calls:
        described = _layer_call(call, flow, sources)
        if call.layer is not None and call.skipped is None and call.upstream:
            key = (id(call.layer), *(_origin(tensor) for tensor in call.upstream))
            earlier = first.setdefault(key, call.path)
            described = replace(described, repeats=earlier if earlier != call.path else None)
        found.append(described)
    return tuple(found)


def _origin(tensor: Any) -> str:
    """The name of the tensor that a chain of identities hands on."""
    while tensor.op.type == "Identity":
        tensor = tensor.op.inputs[0]
    return str(tensor.name)


def _layer_call(call: Call, flow: Dataflow, sources: Mapping[int, Source]) -> LayerCall:
    layer = call.layer
    return LayerCall(
        path=call.path,
        layer=call.layer_path,
        kind=call.kind,
        depth=call.depth,
        leaf=call.leaf,
        inputs=flow.into(call),
        input_shapes=tuple(_shape(t) for t in call.inputs if not t.dtype.is_bool),
        output_shapes=tuple(_shape(t) for t in call.outputs),
        activation=activation(call),
        axis=_axis(call),
        trainable=bool(layer.trainable) if layer is not None else False,
        parameters=layer_facts.parameters(layer) if layer is not None else 0,
        config=layer_facts.plain_config(layer) if layer is not None else {},
        source=sources.get(id(layer)) or sources.get(id(call.parent and call.parent.layer)),
    )


def activation(call: Call) -> str | None:
    """The activation that a call applies; of a layer of the user's own what the graph shows."""
    if call.layer is None:
        return layer_facts.ACTIVATION_OPS.get(call.op.type)
    named = layer_facts.activation_name(call.layer)
    if named is not None or not call.leaf or not call.outputs or not _is_custom(call.layer):
        return named
    inside = call.first_op <= _position(call) < call.last_op
    return layer_facts.activation_of_op(call.outputs[0]) if inside else None


def _is_custom(layer: Any) -> bool:
    return isinstance(layer, keras.layers.Lambda) or not is_keras_layer(layer)


def _position(call: Call) -> int:
    """Whether the call's output is an operation of its own: a layer may return what it took."""
    own = call.outputs[0].name not in {tensor.name for tensor in call.inputs}
    return call.first_op if own else call.last_op


def _axis(call: Call) -> int | None:
    rank = call.outputs[0].shape.rank if call.outputs else None
    if call.layer is not None and layer_facts.activation_name(call.layer) is not None:
        return layer_facts.activation_axis(call.layer, rank)
    if activation(call) not in {"softmax", "log_softmax"} or not rank:
        return None
    # TensorFlow's operation normalises over the last axis; for another one Keras transposes, and
    # the shapes of a call of kind `op` are those of the operation itself.
    last = call.op is not None or call.outputs[0].op.type in {"Softmax", "LogSoftmax"}
    return rank - 1 if last else None


def _shape(tensor: Any) -> tuple[int | None, ...]:
    if tensor.shape.rank is None:
        return (None,)
    return tuple(None if axis == 0 else size for axis, size in enumerate(tensor.shape.as_list()))
