"""One trace of a model's forward pass: every layer call with its symbolic tensors.

``keras.layers.Layer.__call__`` is replaced for the duration of the trace. Each call notes what
goes in, what comes out and which graph operations lie between. Every float input is wrapped in an
identity of its own, because the gradient of a tensor is the sum over all its consumers, while the
gradient of the identity belongs to this one call.

Calls inside a loop, a branch or a nested ``tf.function`` (the cell of an LSTM, the layer inside
``TimeDistributed``) live in a graph of their own, out of reach of a gradient taken outside. They
are listed once per call of the layer around them, with the reason in ``skipped``; the layer around
them counts as the leaf.
"""

from __future__ import annotations

import functools
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from saldiag.keras_internals.compilation import compiled_loss, loss_method
from saldiag.keras_internals.graphs import CONSTANT_MODULE, is_scratch_graph
from saldiag.keras_internals.layers import (
    added_losses,
    flattened_layers,
    output_spec,
    takes_training_argument,
)
from saldiag.keras_internals.names import CONSTANT_FUNCTION
from saldiag.keras_internals.tensors import copy_notes
from saldiag_probes.state.isolation import undisturbed
from saldiag_probes.trace.paths import layer_paths

INSIDE_LOOP = "runs inside a loop, a branch or a nested function, which has a graph of its own"
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_NODES = re.compile(r"\{\{(function_)?node [^}]*\}\}")
_TRACE = re.compile(r"(Detected at node|<stack traces|File \"|\[\[)")
_NAMED = re.compile(r"[\w.]*(Error|Exception): ")


class CannotMeasure(Exception):  # noqa: N818 - a normal outcome, not a failure
    """A quantity cannot be had from this model; ``reason`` is one line for the user."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def explain(error: BaseException) -> str:
    """What an exception says, in one line: Keras and TensorFlow put the point further down."""
    text = _NODES.sub("", _ANSI.sub("", str(error)))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    if lines[0].startswith("Exception encountered when calling") and len(lines) > 1:
        lines[0] = f"{lines[0].removeprefix('Exception encountered when calling ')} {lines[1]}"
    if lines[0].startswith("Graph execution error"):
        said = [line for line in lines[1:] if not _TRACE.match(line)]
        named = [line for line in said if _NAMED.match(line)]
        lines = [*named, *said, lines[0]]
    return lines[0][:300]


@dataclass(eq=False)
class Call:
    """One call of one layer (or, with ``layer`` None, one raw operation) in the traced graph.

    ``inputs`` are the tensors as the layer saw them; ``upstream`` the same tensors before they
    were wrapped. ``made_by`` holds the path of the call that had returned each of them, if it was
    known at that moment. ``first_op`` and ``last_op`` delimit the operations of the graph that
    the call created (half open).
    """

    path: str
    layer_path: str
    layer: Any
    kind: str
    depth: int
    parent: Call | None
    first_op: int
    inputs: list[Any] = field(default_factory=list)
    upstream: list[Any] = field(default_factory=list)
    made_by: list[str | None] = field(default_factory=list)
    outputs: list[Any] = field(default_factory=list)
    batched: bool = True
    last_op: int = 0
    children: int = 0
    op: Any = None
    skipped: str | None = None

    @property
    def leaf(self) -> bool:
        """Whether it holds no other call that the dataflow could be followed through."""
        return self.children == 0 and self.skipped is None


@dataclass(eq=False)
class Trace:
    """The forward pass of a model in a graph; ``y_pred`` is what the model returned."""

    graph: Any
    calls: list[Call]
    inputs: list[Any]
    y_pred: Any
    forward_ops: int
    batch_size: int
    function: Any = None
    """Keeps the graph alive, where nobody else does."""
    added: tuple[Any, ...] = ()
    """The tensors that the layers gave to ``add_loss``."""
    zeros: frozenset[str] = frozenset()
    """The names of constants that were 0 already when they were handed to TensorFlow."""

    @property
    def outputs(self) -> list[Any]:
        """The tensors of ``y_pred``."""
        return flat_tensors(self.y_pred)

    def operations(self) -> list[Any]:
        """The graph's operations of the forward pass, in the order of their creation."""
        return list(self.graph.get_operations()[: self.forward_ops])

    def owners(self) -> list[Call | None]:
        """For each operation of the forward pass the innermost layer call that created it."""
        owners: list[Call | None] = [None] * self.forward_ops
        for call in self.calls:  # outer calls come before inner ones
            if call.skipped is None and call.layer is not None:
                owners[call.first_op : call.last_op] = [call] * (call.last_op - call.first_op)
        return owners


def flat_tensors(structure: Any) -> list[Any]:
    """The symbolic tensors in a nested structure; of ragged and sparse ones the values."""
    tensors = [_values_of(leaf) for leaf in keras.tree.flatten(structure)]
    return [t for t in tensors if isinstance(t, tf.Tensor) and tf.is_symbolic_tensor(t)]


def _values_of(leaf: Any) -> Any:
    if isinstance(leaf, tf.RaggedTensor):
        return leaf.flat_values
    if isinstance(leaf, tf.SparseTensor):
        return leaf.values
    return leaf


def own_identity(leaf: Any) -> Any:
    """An identity of a float tensor that carries along what Keras left on the original."""
    if isinstance(leaf, tf.RaggedTensor):
        return leaf.with_flat_values(own_identity(leaf.flat_values))
    if isinstance(leaf, tf.SparseTensor):
        return tf.SparseTensor(leaf.indices, own_identity(leaf.values), leaf.dense_shape)
    if not (isinstance(leaf, tf.Tensor) and leaf.dtype.is_floating):
        return leaf
    copy = tf.identity(leaf)
    copy_notes(leaf, copy)
    return copy


class Recorder:
    """Notes the calls that a model makes while it is traced into ``graph``."""

    def __init__(self, model: Any, graph: Any) -> None:
        self.model = model
        self.graph = graph
        self.calls: list[Call] = []
        self._paths: Mapping[int, str] = layer_paths(model)
        self._uses: Counter[str] = Counter()
        self._stack: list[Call] = []
        self.zeros: set[str] = set()
        self._makers: dict[str, str] = {}
        self._inside_model = False

    def record(self, layer: Any, call: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Stand in for ``layer(*args, **kwargs)``; ``call`` is the original ``__call__``."""
        graph = tf.compat.v1.get_default_graph()
        if not self._inside_model:
            self._inside_model = layer is self.model
            try:
                return call(layer, *args, **kwargs)
            finally:
                self._inside_model = False
        if not self._is_ours(graph):
            return call(layer, *args, **kwargs)
        parent = self._stack[-1] if self._stack else None
        if (reason := self._out_of_reach(graph, parent)) is not None:
            return self._record_skipped(layer, call, args, kwargs, parent, reason)
        note = self._note(layer, parent)
        args, kwargs = self._take_inputs(note, (args, kwargs))
        outputs = self._run(note, layer, call, args, kwargs)
        note.outputs = flat_tensors(outputs)
        note.batched = all(isinstance(leaf, tf.Tensor) for leaf in keras.tree.flatten(outputs))
        if parent is not None:
            parent.children += 1
        if note.leaf:
            self._makers.update((tensor.name, note.path) for tensor in note.outputs)
        return outputs

    def _is_ours(self, graph: Any) -> bool:
        """Not in a scratch graph where Keras only infers shapes."""
        while graph is not None and graph is not self.graph:
            if is_scratch_graph(graph):
                return False
            graph = getattr(graph, "outer_graph", None)
        return graph is self.graph

    def _out_of_reach(self, graph: Any, parent: Call | None) -> str | None:
        if parent is not None and parent.skipped is not None:
            return parent.skipped
        # An RNN calls its cell once outside the loop, only to learn the shape of the output.
        rolled = parent is not None and isinstance(parent.layer, keras.layers.RNN)
        if graph is not self.graph or (rolled and parent and not parent.layer.unroll):
            return INSIDE_LOOP
        return None

    def _record_skipped(
        self, layer: Any, call: Any, args: Any, kwargs: Any, parent: Call | None, reason: str
    ) -> Any:
        known = (c for c in self.calls if c.layer is layer and c.parent is parent)
        note = next(known, None) or self._note(layer, parent)
        note.skipped = reason
        outputs = self._run(note, layer, call, args, kwargs)
        note.inputs, note.outputs = flat_tensors((args, kwargs)), flat_tensors(outputs)
        return outputs

    def _note(self, layer: Any, parent: Call | None) -> Call:
        above = f"{parent.layer_path}/" if parent is not None else ""
        path = self._paths.get(id(layer), f"{above}{layer.name}")
        self._uses[path] += 1
        note = Call(
            path=path if self._uses[path] == 1 else f"{path}#{self._uses[path]}",
            layer_path=path,
            layer=layer,
            kind=type(layer).__name__,
            depth=1 if parent is None else parent.depth + 1,
            parent=parent,
            first_op=self.graph.num_operations(),
        )
        self.calls.append(note)
        return note

    def _take_inputs(self, note: Call, arguments: Any) -> Any:
        """Wrap the arguments; one identity for each distinct tensor, so that ``is`` still holds."""
        wrapped: dict[int, Any] = {}

        def wrap(leaf: Any) -> Any:
            if id(leaf) in wrapped:
                return wrapped[id(leaf)]
            copy = wrapped[id(leaf)] = own_identity(leaf)
            for before, after in zip(flat_tensors(leaf), flat_tensors(copy), strict=True):
                note.upstream.append(before)
                note.inputs.append(after)
                note.made_by.append(self._makers.get(before.name))
            return copy

        return keras.tree.map_structure(wrap, arguments)

    def _run(self, note: Call, layer: Any, call: Any, args: Any, kwargs: Any) -> Any:
        self._stack.append(note)
        try:
            return call(layer, *args, **kwargs)
        finally:
            self._stack.pop()
            note.last_op = self.graph.num_operations()


_LOCK = threading.RLock()
_ACTIVE = threading.local()


@contextmanager
def recording(recorder: Recorder) -> Iterator[None]:
    """Route all layer calls of this thread through ``recorder``; other threads are let through."""
    base = keras.layers.Layer
    with _LOCK:
        original = base.__call__

        @functools.wraps(original)
        def traced(layer: Any, *args: Any, **kwargs: Any) -> Any:
            active = getattr(_ACTIVE, "recorder", None)
            if active is None:
                return original(layer, *args, **kwargs)
            return active.record(layer, original, args, kwargs)

        outer = getattr(_ACTIVE, "recorder", None)
        base.__call__, _ACTIVE.recorder = traced, recorder
        try:
            with _noting_zeros():
                yield
        finally:
            base.__call__, _ACTIVE.recorder = original, outer


@contextmanager
def _noting_zeros() -> Iterator[None]:
    """Note which constants are 0 before they are rounded, such as the one that ``sum`` starts at.

    There is no public way: the graph holds a constant only in its own dtype.
    """
    original = getattr(CONSTANT_MODULE, CONSTANT_FUNCTION, None)
    if original is None:
        yield
        return

    @functools.wraps(original)
    def noted(value: Any, *args: Any, **kwargs: Any) -> Any:
        tensor = original(value, *args, **kwargs)
        recorder = getattr(_ACTIVE, "recorder", None)
        if recorder is not None and isinstance(value, (int, float, np.number)) and value == 0:
            recorder.zeros.add(tensor.op.name)
        return tensor

    setattr(CONSTANT_MODULE, CONSTANT_FUNCTION, noted)
    try:
        yield
    finally:
        setattr(CONSTANT_MODULE, CONSTANT_FUNCTION, original)


@dataclass(frozen=True)
class Batch:
    """One batch as ``fit`` would see it; ``y`` and ``sample_weight`` may be None."""

    x: Any
    y: Any = None
    sample_weight: Any = None

    @property
    def size(self) -> int:
        """Number of samples; 1 if that cannot be told."""
        shapes = [t.shape for t in keras.tree.flatten(self.x) if t is not None]
        first = shapes[0] if shapes else None
        return int(first[0]) if first is not None and first.rank and first[0] else 1


def as_batch(data: Any) -> Batch:
    """Convert ``x``, ``(x,)``, ``(x, y)`` or ``(x, y, sample_weight)`` as Keras' adapters do."""
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    x, y, sample_weight = keras.tree.map_structure(_as_tensor, (x, y, sample_weight))
    return Batch(x, y, sample_weight)


def _as_tensor(leaf: Any) -> Any:
    if leaf is None or tf.is_tensor(leaf) or isinstance(leaf, tf.TensorSpec):
        return leaf
    if isinstance(leaf, keras.KerasTensor):
        return tf.TensorSpec([leaf.shape[0] or 1, *leaf.shape[1:]], leaf.dtype)
    array = np.asarray(leaf)
    return tf.convert_to_tensor(
        array.astype(keras.config.floatx()) if array.dtype.kind == "f" else array
    )


def build(model: Any, batch: Batch) -> None:
    """Create the variables of a model that has none yet, as the first step of ``fit`` does.

    Raises:
        CannotMeasure: the model cannot be called on such a batch.
    """
    layers = [model, *flattened_layers(model)]
    loss = compiled_loss(model)
    # With several outputs Keras makes a metric for each, which a trace must not do.
    several = len(keras.tree.flatten(batch.y)) > 1
    loss_unbuilt = loss is not None and not loss.built and several
    if all(layer.built for layer in layers) and not loss_unbuilt:
        return
    x, y, weight = keras.tree.map_structure(_as_spec, (batch.x, batch.y, batch.sample_weight))
    try:
        y_pred = output_spec(model, x, training=False)
    except Exception as error:
        raise CannotMeasure(f"the model cannot be called: {explain(error)}") from error
    if loss_unbuilt:
        with suppress(Exception):  # the trace itself will say what is wrong
            output_spec(loss_method(model), x, y, y_pred, weight, training=False)


def _as_spec(leaf: Any) -> Any:
    if leaf is None or isinstance(leaf, tf.RaggedTensor):
        return leaf
    return keras.KerasTensor(
        leaf.shape, leaf.dtype.name, sparse=isinstance(leaf, (tf.SparseTensor, tf.SparseTensorSpec))
    )


def forward(model: Any, x: Any, *, training: bool, batch_size: int) -> Trace:
    """Call the model inside the current graph and record every layer call.

    Raises:
        CannotMeasure: the model cannot be called on ``x``.
    """
    graph = tf.compat.v1.get_default_graph()
    recorder = Recorder(model, graph)
    try:
        with recording(recorder):
            takes_training = takes_training_argument(model)
            y_pred = model(x, training=training) if takes_training else model(x)
    except Exception as error:
        raise CannotMeasure(f"the model cannot be called: {explain(error)}") from error
    inputs = flat_tensors(x)
    return Trace(
        graph,
        recorder.calls,
        inputs,
        y_pred,
        graph.num_operations(),
        batch_size,
        added=tuple(flat_tensors([added_losses(layer) for layer in flattened_layers(model)])),
        zeros=frozenset(recorder.zeros),
    )


def trace(model: Any, data: Any, *, training: bool) -> Trace:
    """The forward pass in a graph of its own, for looking at; it is not executed.

    ``data`` is a batch or its description (``tf.TensorSpec``, ``keras.KerasTensor``).

    Raises:
        CannotMeasure: the model cannot be called on such a batch.
    """
    batch = as_batch(data)
    build(model, batch)
    found: list[Trace] = []

    def call(x: Any) -> None:
        found.append(forward(model, x, training=training, batch_size=batch.size))

    with undisturbed(model):  # a trace can draw seeds
        function = tf.function(call, autograph=False).get_concrete_function(batch.x)
    found[0].function = function
    return found[0]
