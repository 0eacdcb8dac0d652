"""Record a model's forward pass in one trace: every layer call with its symbolic tensors.

``keras.layers.Layer.__call__`` is replaced for the duration of the trace. Each recorded call holds
its inputs, its outputs and the range of graph operations in between. Every float input is wrapped
in an identity of its own, because the gradient of a tensor is the sum over all its consumers, while
the gradient of the identity belongs to this one call.

Calls inside a loop, a branch or a nested ``tf.function`` (the cell of an LSTM, the layer inside
``TimeDistributed``) live in a separate graph, which a gradient taken outside cannot reach. They are
listed once per call of the layer around them, with the reason in ``skipped``; the layer around them
counts as the leaf.
"""

from __future__ import annotations

import functools
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from saldiag.core.keras_types import BatchLike, KerasLayer, KerasModel, TensorTree
from saldiag.core.patching import patched
from saldiag.keras_internals.graphs import CONSTANT_MODULE, is_scratch_graph
from saldiag.keras_internals.layers import added_losses, flattened_layers, takes_training_argument
from saldiag.keras_internals.names import CONSTANT_FUNCTION
from saldiag_probes.state.isolation import preserved_state
from saldiag_probes.trace.batch import as_batch, build_model
from saldiag_probes.trace.calls import (
    Trace,
    TracedCall,
    flat_tensors,
    identity_with_keras_attributes,
)
from saldiag_probes.trace.errors import CannotMeasure, error_summary
from saldiag_probes.trace.paths import layer_paths

INSIDE_NESTED_GRAPH = (
    "runs inside a loop, a branch or a nested tf.function, which has a separate graph"
)
"""Reason in ``TracedCall.skipped``."""


class Recorder:
    """Records the calls that a model makes while it is traced into ``graph``."""

    def __init__(self, model: KerasModel, graph: Any) -> None:
        self.model = model
        self.graph = graph
        self.calls: list[TracedCall] = []
        self._paths: Mapping[int, str] = layer_paths(model)
        self._uses: Counter[str] = Counter()
        self._stack: list[TracedCall] = []
        self.zero_constants: set[str] = set()
        self._producers: dict[str, str] = {}
        self._inside_model = False

    def record_call(
        self, layer: KerasLayer, call: Callable[..., Any], args: Any, kwargs: Any
    ) -> Any:
        """Run ``layer(*args, **kwargs)``, record the call, and return its result.

        Args:
            layer: the layer.
            call: the original ``Layer.__call__``.
            args: positional arguments.
            kwargs: keyword arguments.
        """
        graph = tf.compat.v1.get_default_graph()
        if not self._inside_model:
            # The model's own call is the frame of the trace: only the calls inside it are entries.
            self._inside_model = layer is self.model
            try:
                return call(layer, *args, **kwargs)
            finally:
                self._inside_model = False
        if not self._is_in_traced_graph(graph):  # Keras only infers shapes here
            return call(layer, *args, **kwargs)
        parent = self._stack[-1] if self._stack else None
        if (reason := self._skip_reason(graph, parent)) is not None:
            return self._record_skipped(layer, call, args, kwargs, parent, reason)
        recorded = self._new_call(layer, parent)
        args, kwargs = self._wrap_inputs(recorded, (args, kwargs))
        outputs = self._run_call(recorded, layer, call, args, kwargs)
        recorded.outputs = flat_tensors(outputs)
        recorded.batched = all(isinstance(leaf, tf.Tensor) for leaf in keras.tree.flatten(outputs))
        if parent is not None:
            parent.children += 1
        # Only leaf calls: the output of an outer layer is the tensor of a layer inside it.
        if recorded.leaf:
            self._producers.update((tensor.name, recorded.path) for tensor in recorded.outputs)
        return outputs

    def _is_in_traced_graph(self, graph: Any) -> bool:
        """Whether a graph is, or is nested in, the traced one; False in Keras' scratch graphs."""
        while graph is not None and graph is not self.graph:
            if is_scratch_graph(graph):
                return False
            graph = getattr(graph, "outer_graph", None)
        return graph is self.graph

    def _skip_reason(self, graph: Any, parent: TracedCall | None) -> str | None:
        """Why the tensors of a call cannot be recorded; None if they can."""
        if parent is not None and parent.skipped is not None:
            return parent.skipped
        # An RNN calls its cell once outside the loop, only to learn the shape of the output.
        in_rnn = parent is not None and isinstance(parent.layer, keras.layers.RNN)
        if graph is not self.graph or (
            in_rnn and parent and not getattr(parent.layer, "unroll", False)
        ):
            return INSIDE_NESTED_GRAPH
        return None

    def _record_skipped(
        self,
        layer: KerasLayer,
        call: Any,
        args: Any,
        kwargs: Any,
        parent: TracedCall | None,
        reason: str,
    ) -> Any:
        """Run a call whose tensors are out of reach; a loop body's layer gets one entry only."""
        known = (c for c in self.calls if c.layer is layer and c.parent is parent)
        recorded = next(known, None) or self._new_call(layer, parent)
        recorded.skipped = reason
        outputs = self._run_call(recorded, layer, call, args, kwargs)
        recorded.inputs, recorded.outputs = flat_tensors((args, kwargs)), flat_tensors(outputs)
        return outputs

    def _new_call(self, layer: KerasLayer, parent: TracedCall | None) -> TracedCall:
        above = f"{parent.layer_path}/" if parent is not None else ""
        path = self._paths.get(id(layer), f"{above}{layer.name}")
        self._uses[path] += 1
        recorded = TracedCall(
            path=path if self._uses[path] == 1 else f"{path}#{self._uses[path]}",
            layer_path=path,
            layer=layer,
            kind=type(layer).__name__,
            depth=1 if parent is None else parent.depth + 1,
            parent=parent,
            first_op=self.graph.num_operations(),
        )
        self.calls.append(recorded)
        return recorded

    def _wrap_inputs(self, recorded: TracedCall, arguments: Any) -> Any:
        """Wrap the arguments; one identity for each distinct tensor, so that ``is`` still holds."""
        wrapped: dict[int, Any] = {}

        def wrap_leaf(leaf: Any) -> Any:
            if id(leaf) in wrapped:
                return wrapped[id(leaf)]
            copy = wrapped[id(leaf)] = identity_with_keras_attributes(leaf)
            for before, after in zip(flat_tensors(leaf), flat_tensors(copy), strict=True):
                recorded.upstream.append(before)
                recorded.inputs.append(after)
                recorded.made_by.append(self._producers.get(before.name))
            return copy

        return keras.tree.map_structure(wrap_leaf, arguments)

    def _run_call(
        self, recorded: TracedCall, layer: KerasLayer, call: Any, args: Any, kwargs: Any
    ) -> Any:
        self._stack.append(recorded)
        try:
            return call(layer, *args, **kwargs)
        finally:
            self._stack.pop()
            recorded.last_op = self.graph.num_operations()


_PATCH_LOCK = threading.RLock()
_ACTIVE = threading.local()
"""The recorder of the current thread, in attribute ``recorder``."""


@contextmanager
def record_layer_calls(recorder: Recorder) -> Iterator[None]:
    """Pass all layer calls of this thread through ``recorder``; other threads are unaffected."""
    base = keras.layers.Layer
    # The method is replaced on the class, for all threads at once. The recorder is thread-local, so
    # calls from other threads go straight to the original.
    with _PATCH_LOCK:
        original = base.__call__

        @functools.wraps(original)
        def recorded_call(layer: KerasLayer, *args: Any, **kwargs: Any) -> Any:
            active = getattr(_ACTIVE, "recorder", None)
            if active is None:
                return original(layer, *args, **kwargs)
            return active.record_call(layer, original, args, kwargs)

        outer = getattr(_ACTIVE, "recorder", None)
        _ACTIVE.recorder = recorder
        try:
            with patched(base, "__call__", recorded_call), _record_zero_constants():
                yield
        finally:
            _ACTIVE.recorder = outer


@contextmanager
def _record_zero_constants() -> Iterator[None]:
    """Record which constants are 0 before they are rounded, such as the one that ``sum`` starts at.

    There is no public way: the graph holds a constant only in its final dtype.
    """
    original = getattr(CONSTANT_MODULE, CONSTANT_FUNCTION, None)
    if original is None:
        yield
        return

    @functools.wraps(original)
    def create_constant(value: Any, *args: Any, **kwargs: Any) -> Any:
        tensor = original(value, *args, **kwargs)
        recorder = getattr(_ACTIVE, "recorder", None)
        if recorder is not None and isinstance(value, (int, float, np.number)) and value == 0:
            recorder.zero_constants.add(tensor.op.name)
        return tensor

    with patched(CONSTANT_MODULE, CONSTANT_FUNCTION, create_constant):
        yield


def trace_forward(model: KerasModel, x: TensorTree, *, training: bool, batch_size: int) -> Trace:
    """Call the model inside the current graph and record every layer call.

    Args:
        model: a built Keras model.
        x: its input, symbolic tensors of the current graph.
        training: the mode of the forward pass.
        batch_size: number of samples, recorded in the trace.

    Raises:
        CannotMeasure: the model cannot be called on ``x``.
    """
    graph = tf.compat.v1.get_default_graph()
    recorder = Recorder(model, graph)
    try:
        with record_layer_calls(recorder):
            takes_training = takes_training_argument(model)
            y_pred = model(x, training=training) if takes_training else model(x)
    except Exception as error:
        raise CannotMeasure(
            f"the model cannot be called on this batch: {error_summary(error)}"
        ) from error
    inputs = flat_tensors(x)
    return Trace(
        graph,
        recorder.calls,
        inputs,
        y_pred,
        graph.num_operations(),
        batch_size,
        added_losses=tuple(
            flat_tensors([added_losses(layer) for layer in flattened_layers(model)])
        ),
        zero_constants=frozenset(recorder.zero_constants),
    )


def trace_model(model: KerasModel, data: BatchLike, *, training: bool) -> Trace:
    """Trace the forward pass into a new graph, without executing it.

    Args:
        model: any Keras model; it is built if it is not built yet, and otherwise left unchanged.
        data: a batch or its description (``tf.TensorSpec`` or ``keras.KerasTensor`` as leaves).
        training: the mode of the forward pass.

    Raises:
        CannotMeasure: the model cannot be called on such a batch.
    """
    batch = as_batch(data)
    build_model(model, batch)
    traces: list[Trace] = []

    def record(x: TensorTree) -> None:
        traces.append(trace_forward(model, x, training=training, batch_size=batch.size))

    with preserved_state(model):  # tracing can advance seed generators
        function = tf.function(record, autograph=False).get_concrete_function(batch.x)
    traces[0].function = function
    return traces[0]
