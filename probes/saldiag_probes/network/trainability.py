"""Which variables are flagged as trainable, and which ones actually train.

Flags say little in Keras: a frozen block inside an unfrozen model lists none of its weights as
trainable, while the model lists those whose own layer is trainable. Each variable is therefore
looked up where it counts, and one real training step shows which variables receive a gradient and
which change. The step is undone.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from saldiag.core.keras_types import BatchLike, KerasLayer, KerasModel, KerasVariable
from saldiag.core.measurement import (
    GradientHistory,
    NormalizationRow,
    TrainableRow,
    TrainableStatus,
)
from saldiag.keras_internals.layers import flattened_layers
from saldiag.keras_internals.optimizers import optimized_variables
from saldiag_probes.hooks.engine import HOOKS, HookedCall, HookPoint
from saldiag_probes.network.initial_distance import start_distance
from saldiag_probes.state.isolation import preserved_state
from saldiag_probes.state.optimizers import inner_optimizer, optimizers_of
from saldiag_probes.trace import layer_facts
from saldiag_probes.trace.batch import as_batch, build_model
from saldiag_probes.trace.calls import Trace
from saldiag_probes.trace.errors import CannotMeasure
from saldiag_probes.trace.paths import layer_paths, variable_paths
from saldiag_probes.trace.recorder import trace_model

MAX_SKIPPED_STEPS = 20
"""Steps to try. An initial loss scale that is too high makes the optimizer skip steps until the
scale has come down."""


@dataclass(frozen=True)
class _StepEffect:
    """What a training step did to each variable, keyed by ``id(variable)``."""

    has_gradient: dict[int, bool | None]
    """Whether the optimizer was given a gradient; a missing key means unknown."""
    changed: dict[int, bool | None]
    """Whether the value changed; None or a missing key means unknown."""
    in_optimizer: set[int] | None
    """Ids of the variables that the optimizers hold; None if no optimizer is built."""


def measure_trainable(
    model: KerasModel,
    batch: BatchLike = None,
    history: GradientHistory | None = None,
    known_changed: Container[Any] = (),
    *,
    moments: Mapping[str, bool] | None = None,
) -> TrainableStatus:
    """For every weight: its flags, where it is listed, and whether it trains.

    Args:
        model: any Keras model; ``has_gradient`` and ``changed`` need a compiled one.
        batch: ``(x, y)`` or ``(x, y, sample_weight)`` for one real ``train_step``, which is undone.
            Without ``batch`` and ``history`` no step is taken.
        history: gradients of real steps, used in place of that step.
        known_changed: variables known to have left their initial values, whatever the test says.
        moments: result of ``batch_moments`` for a pass in training mode, if there was one.

    Raises:
        CannotMeasure: the model has no variables yet, and cannot be built without a batch.
    """
    data = None if batch is None else as_batch(batch)
    if data is not None:
        build_model(model, data)
    if not model.built and not model.weights:
        raise CannotMeasure("the model is not built yet: call it once, or pass a batch")
    paths, owners = variable_paths(model), _layers_by_path(model)
    if history is not None:
        step = _effect_from_history(model, history, {i: path for i, (_, path) in paths.items()})
    else:
        step = _effect_of_one_step(model, data)
    listed = {path: {id(v) for v in layer.trainable_weights} for path, layer in owners.items()}
    return TrainableStatus(
        rows=tuple(
            _trainable_row(v, paths[id(v)], owners, listed, step, known_changed=v in known_changed)
            for v in model.weights
        ),
        normalization=tuple(_normalization_rows(model, data, owners, step, moments)),
        parameters=layer_facts.count_parameters(model),
        trainable_parameters=sum(int(v.shape.num_elements()) for v in model.trainable_weights),
    )


def _layers_by_path(model: KerasModel) -> dict[str, Any]:
    """Layers by path; the model itself has the empty path."""
    by_id = {id(layer): layer for layer in flattened_layers(model)}
    return {path: by_id[key] for key, path in layer_paths(model).items()}


def _trainable_row(
    variable: KerasVariable,
    path: tuple[str, str],
    owners: dict[str, Any],
    listed: dict[str, set[int]],
    step: _StepEffect,
    *,
    known_changed: bool,
) -> TrainableRow:
    layer_path, variable_path = path
    layer, key = owners[layer_path], id(variable)
    above = _ancestor_paths(layer_path)
    return TrainableRow(
        path=variable_path,
        layer=layer_path,
        kind=type(layer).__name__,
        role=str(variable.name),
        size=int(variable.shape.num_elements()),
        layer_flag=bool(layer.trainable),
        parents_flag=all(bool(owners[parent].trainable) for parent in above),
        variable_flag=bool(variable.trainable),
        in_layer=key in listed[above[0]],
        in_model=key in listed[""],
        in_optimizer=None if step.in_optimizer is None else key in step.in_optimizer,
        has_gradient=step.has_gradient.get(key),
        changed=step.changed.get(key),
        start_distance=math.inf if known_changed else start_distance(layer, variable),
        watched=bool(getattr(variable.value, "trainable", True)),
    )


def _ancestor_paths(path: str) -> list[str]:
    """Paths of the layers around a layer, innermost first, the model (``""``) last."""
    parts = path.split("/")[:-1]
    return ["/".join(parts[:depth]) for depth in range(len(parts), -1, -1)]


def _effect_from_history(
    model: KerasModel, history: GradientHistory, paths: dict[int, str]
) -> _StepEffect:
    columns = {variable.path: i for i, variable in enumerate(history.variables)}
    has_gradient: dict[int, bool | None] = {}
    changed: dict[int, bool | None] = {}
    for variable in model.weights if len(history.steps) else []:
        column = columns.get(paths[id(variable)])
        has_gradient[id(variable)] = column is not None and bool(
            np.isfinite(history.norm[:, column]).any()
            or (history.nonfinite_share[:, column] > 0).any()
        )
        # The history covers the optimizer's variables only, not BatchNorm's moving statistics.
        changed[id(variable)] = None if column is None else _has_moved(history, column)
    return _StepEffect(has_gradient, changed, _optimizer_variable_ids(model))


def _has_moved(history: GradientHistory, column: int) -> bool:
    ratio, weight = history.update_ratio[:, column], history.weight_norm[:, column]
    return bool((ratio > 0).any() or len(set(weight[np.isfinite(weight)].tolist())) > 1)


def _optimizer_variable_ids(model: KerasModel) -> set[int] | None:
    """Ids of the variables that the optimizers hold; None if no optimizer is built yet."""
    optimizers = map(inner_optimizer, optimizers_of(model).values())
    built = [optimizer for optimizer in optimizers if optimizer.built]
    return {id(v) for o in built for v in optimized_variables(o)} if built else None


def _effect_of_one_step(model: KerasModel, data: Any) -> _StepEffect:
    """Take one real ``train_step`` and restore everything."""
    ready = data is not None and getattr(model, "compiled", False) and optimizers_of(model)
    if not ready:
        return _StepEffect({}, {}, _optimizer_variable_ids(model))
    known = _optimizer_variable_ids(model)
    with preserved_state(model), _record_gradients() as gradient_seen:
        before = {id(v): _value_bytes(v) for v in model.weights}
        try:
            changed = _step_until_taken(model, data, before)
        except Exception:  # from a custom train_step, or an optimizer built for others
            return _StepEffect({}, {}, known)
        listed = _optimizer_variable_ids(model)
    gradients: dict[int, bool | None] = {
        id(v): gradient_seen.get(id(v), False) for v in model.weights
    }
    return _StepEffect(gradients, changed, listed)


def _step_until_taken(
    model: KerasModel, data: Any, before: dict[int, bytes]
) -> dict[int, bool | None]:
    """Step until the optimizer applies one; empty if it skips all of them for overflow."""
    for _ in range(MAX_SKIPPED_STEPS):
        scale = _dynamic_scale(model)
        model.train_step((data.x, data.y, data.sample_weight))
        if _dynamic_scale(model) >= scale:
            return {id(v): _value_bytes(v) != before[id(v)] for v in model.weights}
    return {}


def _dynamic_scale(model: KerasModel) -> float:
    optimizer = model.optimizer
    if not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return 1.0
    return float(optimizer.dynamic_scale if optimizer.built else optimizer.initial_scale)


def _value_bytes(variable: KerasVariable) -> bytes:
    return bytes(variable.value.numpy().tobytes())


@contextmanager
def _record_gradients() -> Iterator[dict[int, bool]]:
    """Record, by ``id(variable)``, whether ``apply`` is called with a gradient for the variable."""
    gradient_seen: dict[int, bool] = {}

    def on_apply(call: HookedCall) -> Any:
        names = ("grads", "trainable_variables")
        given = {**dict(zip(names, call.args, strict=False)), **call.kwargs}
        given = {name: list(value) for name, value in given.items() if value is not None}
        targets = given.get("trainable_variables") or optimized_variables(call.owner)
        for gradient, variable in zip(given["grads"], targets, strict=False):
            key = id(variable)
            gradient_seen[key] = gradient_seen.get(key, False) or gradient is not None
        return call.proceed_with(**given)

    with HOOKS.subscribed({HookPoint.APPLY: on_apply}):
        yield gradient_seen


def _normalization_rows(
    model: KerasModel,
    data: Any,
    owners: dict[str, Any],
    step: _StepEffect,
    moments: Mapping[str, bool] | None,
) -> Iterator[NormalizationRow]:
    layers = _batch_norms(owners)
    modes = _training_modes(model, data, layers, step, moments) if layers else {}
    for path, layer in layers.items():
        yield NormalizationRow(
            path=path,
            trainable=bool(layer.trainable),
            training_mode=modes.get(path),
            momentum=float(layer.momentum),
            at_start=_has_initial_values(layer),
        )


def _has_initial_values(layer: KerasLayer) -> bool:
    """Whether a BatchNormalization layer's variables all hold Keras' default initial values."""
    start = {"gamma": 1.0, "beta": 0.0, "moving_mean": 0.0, "moving_variance": 1.0}
    variables = ((getattr(layer, name, None), value) for name, value in start.items())
    return all(bool((v.value.numpy() == value).all()) for v, value in variables if v is not None)


def _batch_norms(owners: dict[str, Any]) -> dict[str, Any]:
    kind = keras.layers.BatchNormalization
    return {path: layer for path, layer in owners.items() if isinstance(layer, kind)}


def _training_modes(
    model: KerasModel,
    data: Any,
    layers: dict[str, Any],
    step: _StepEffect,
    moments: Mapping[str, bool] | None,
) -> Mapping[str, bool]:
    """Which BatchNormalization layers use the batch's moments when the model trains, by path.

    With a custom ``train_step``, those whose moving mean changed in the step; otherwise they are
    read from the graph of ``model(x, training=True)``.
    """
    custom_step = type(model).train_step is not keras.Model.train_step
    if custom_step and step.changed:
        return {path: bool(step.changed[id(bn.moving_mean)]) for path, bn in layers.items()}
    if moments is not None:
        return moments
    spec = data.x if data is not None else getattr(model, "input", None)
    if spec is None:
        return {}
    try:
        trace = trace_model(model, (spec,), training=True)
    except CannotMeasure:
        return {}
    return batch_moments(model, trace)


def batch_moments(model: KerasModel, trace: Trace) -> dict[str, bool]:
    """Whether each called BatchNormalization layer uses the batch's moments in a pass, by path.

    Those that do assign their moving statistics.

    Args:
        model: the traced model.
        trace: its forward pass.
    """
    handles = {id(outside): inside.name for outside, inside in trace.graph.captures}
    assigned = {op.inputs[0].name for op in trace.operations() if op.type.startswith("Assign")}
    called = {call.layer_path for call in trace.calls if call.skipped is None}
    return {
        path: handles.get(id(layer.moving_mean.value.handle)) in assigned
        for path, layer in _batch_norms(_layers_by_path(model)).items()
        if path in called
    }
