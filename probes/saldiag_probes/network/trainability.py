"""What is trainable on paper, and what trains.

Flags say little in Keras: a frozen block inside an unfrozen model lists none of its weights as
trainable, while the model lists those of them whose own layer is. So each variable is looked up
where it counts, and one real training step shows which have a gradient and which change. The step
is taken back.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from saldiag.core.measurement import (
    GradientHistory,
    NormalizationRow,
    TrainableRow,
    TrainableStatus,
)
from saldiag.keras_internals.layers import flattened_layers
from saldiag.keras_internals.optimizers import optimized_variables
from saldiag_probes.network.initial_distance import start_distance
from saldiag_probes.state.isolation import undisturbed
from saldiag_probes.state.optimizers import inner, optimizers_of
from saldiag_probes.trace import layer_facts
from saldiag_probes.trace.paths import layer_paths, variable_paths
from saldiag_probes.trace.recorder import CannotMeasure, Trace, as_batch, build, trace

SKIPPED_STEPS = 20
"""A loss scale that starts too high makes the optimizer skip steps until it has come down."""


@dataclass(frozen=True)
class _Step:
    """By ``id(variable)``: what a training step did; None where it is not known."""

    has_gradient: dict[int, bool | None]
    changed: dict[int, bool | None]
    in_optimizer: set[int] | None


def measure_trainable(
    model: Any,
    batch: Any = None,
    history: GradientHistory | None = None,
    learnt: Container[Any] = (),
    *,
    moments: Mapping[str, bool] | None = None,
) -> TrainableStatus:
    """For every weight: its flags, where it is listed, and whether it trains.

    Args:
        model: any Keras model; ``has_gradient`` and ``changed`` need it compiled.
        batch: ``(x, y)`` or ``(x, y, sample_weight)`` for one real ``train_step``, which is taken
            back; without it, and without ``history``, no step is taken.
        history: gradients of real steps, in place of that step.
        learnt: variables that are known to be at their start no more, whatever their values.
        moments: what ``batch_moments`` tells of a pass in training mode, if there was one.

    Raises:
        CannotMeasure: the model has no variables yet, and cannot be built without a batch.
    """
    data = None if batch is None else as_batch(batch)
    if data is not None:
        build(model, data)
    if not model.built and not model.weights:
        raise CannotMeasure("the model is not built yet: call it once, or give a batch")
    paths, owners = variable_paths(model), _layers(model)
    if history is not None:
        step = _from_history(model, history, {i: path for i, (_, path) in paths.items()})
    else:
        step = _one_step(model, data)
    listed = {path: {id(v) for v in layer.trainable_weights} for path, layer in owners.items()}
    return TrainableStatus(
        rows=tuple(
            _row(v, paths[id(v)], owners, listed, step, known=v in learnt) for v in model.weights
        ),
        normalization=tuple(_normalization(model, data, owners, step, moments)),
        parameters=layer_facts.parameters(model),
        trainable_parameters=sum(int(v.shape.num_elements()) for v in model.trainable_weights),
    )


def _layers(model: Any) -> dict[str, Any]:
    """Layers by path; the model under the empty one."""
    by_id = {id(layer): layer for layer in flattened_layers(model)}
    return {path: by_id[key] for key, path in layer_paths(model).items()}


def _row(
    variable: Any,
    path: tuple[str, str],
    owners: dict[str, Any],
    listed: dict[str, set[int]],
    step: _Step,
    *,
    known: bool,
) -> TrainableRow:
    layer_path, variable_path = path
    layer, key = owners[layer_path], id(variable)
    above = _above(layer_path)
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
        start_distance=math.inf if known else start_distance(layer, variable),
        watched=bool(getattr(variable.value, "trainable", True)),
    )


def _above(path: str) -> list[str]:
    """Paths of the layers above, the nearest first, the model (``""``) last."""
    parts = path.split("/")[:-1]
    return ["/".join(parts[:depth]) for depth in range(len(parts), -1, -1)]


def _from_history(model: Any, history: GradientHistory, paths: dict[int, str]) -> _Step:
    columns = {variable.path: i for i, variable in enumerate(history.variables)}
    has_gradient: dict[int, bool | None] = {}
    changed: dict[int, bool | None] = {}
    for variable in model.weights if len(history.steps) else []:
        column = columns.get(paths[id(variable)])
        has_gradient[id(variable)] = column is not None and bool(
            np.isfinite(history.norm[:, column]).any()
            or (history.nonfinite_share[:, column] > 0).any()
        )
        # What the optimizer does not see was not watched: BatchNorm's statistics for one.
        changed[id(variable)] = None if column is None else _has_moved(history, column)
    return _Step(has_gradient, changed, _in_optimizer(model))


def _has_moved(history: GradientHistory, column: int) -> bool:
    ratio, weight = history.update_ratio[:, column], history.weight_norm[:, column]
    return bool((ratio > 0).any() or len(set(weight[np.isfinite(weight)].tolist())) > 1)


def _in_optimizer(model: Any) -> set[int] | None:
    """Ids of the variables that the optimizers know; None where none is built yet."""
    own = map(inner, optimizers_of(model).values())
    built = [optimizer for optimizer in own if optimizer.built]
    return {id(v) for o in built for v in optimized_variables(o)} if built else None


def _one_step(model: Any, data: Any) -> _Step:
    """Take a real ``train_step`` and put everything back."""
    ready = data is not None and getattr(model, "compiled", False) and optimizers_of(model)
    if not ready:
        return _Step({}, {}, _in_optimizer(model))
    known = _in_optimizer(model)
    with undisturbed(model), _watch_optimizers() as seen:
        before = {id(v): _bytes(v) for v in model.weights}
        try:
            changed = _step_until_taken(model, data, before)
        except Exception:  # the user's own train_step, or an optimizer built for other variables
            return _Step({}, {}, known)
        listed = _in_optimizer(model)
    gradients: dict[int, bool | None] = {id(v): seen.get(id(v), False) for v in model.weights}
    return _Step(gradients, changed, listed)


def _step_until_taken(model: Any, data: Any, before: dict[int, bytes]) -> dict[int, bool | None]:
    """Steps until the optimizer does not skip one for overflow; None where it skips them all."""
    for _ in range(SKIPPED_STEPS):
        scale = _dynamic_scale(model)
        model.train_step((data.x, data.y, data.sample_weight))
        if _dynamic_scale(model) >= scale:
            return {id(v): _bytes(v) != before[id(v)] for v in model.weights}
    return {}


def _dynamic_scale(model: Any) -> float:
    optimizer = model.optimizer
    if not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return 1.0
    return float(optimizer.dynamic_scale if optimizer.built else optimizer.initial_scale)


def _bytes(variable: Any) -> bytes:
    return bytes(variable.value.numpy().tobytes())


@contextmanager
def _watch_optimizers() -> Iterator[dict[int, bool]]:
    """Collect, by ``id(variable)``, whether the variables that are applied have a gradient."""
    seen: dict[int, bool] = {}
    classes = (keras.optimizers.Optimizer, keras.optimizers.LossScaleOptimizer)
    owners = [next(c for c in kind.__mro__ if "apply" in vars(c)) for kind in classes]
    originals = {owner: vars(owner)["apply"] for owner in owners}

    def watched(original: Any) -> Any:
        def apply(self: Any, grads: Any, trainable_variables: Any = None) -> Any:
            grads = list(grads)
            targets = optimized_variables(self) if trainable_variables is None else None
            targets = list(trainable_variables) if targets is None else targets
            for gradient, variable in zip(grads, targets, strict=False):
                seen[id(variable)] = seen.get(id(variable), False) or gradient is not None
            return original(self, grads, targets if trainable_variables is not None else None)

        return apply

    for owner, original in originals.items():
        owner.apply = watched(original)
    try:
        yield seen
    finally:
        for owner, original in originals.items():
            owner.apply = original


def _normalization(
    model: Any,
    data: Any,
    owners: dict[str, Any],
    step: _Step,
    moments: Mapping[str, bool] | None,
) -> Iterator[NormalizationRow]:
    layers = _batch_norms(owners)
    modes = _modes(model, data, layers, step, moments) if layers else {}
    for path, layer in layers.items():
        yield NormalizationRow(
            path=path,
            trainable=bool(layer.trainable),
            training_mode=modes.get(path),
            momentum=float(layer.momentum),
            at_start=_at_start(layer),
        )


def _at_start(layer: Any) -> bool:
    start = {"gamma": 1.0, "beta": 0.0, "moving_mean": 0.0, "moving_variance": 1.0}
    held = ((getattr(layer, name, None), value) for name, value in start.items())
    return all(bool((v.value.numpy() == value).all()) for v, value in held if v is not None)


def _batch_norms(owners: dict[str, Any]) -> dict[str, Any]:
    kind = keras.layers.BatchNormalization
    return {path: layer for path, layer in owners.items() if isinstance(layer, kind)}


def _modes(
    model: Any,
    data: Any,
    layers: dict[str, Any],
    step: _Step,
    moments: Mapping[str, bool] | None,
) -> Mapping[str, bool]:
    """Which BatchNorm layers use the batch's moments when the model trains.

    Under a ``train_step`` of the model's own, they are those that changed in the step that was
    taken; else the graph of ``model(x, training=True)`` tells.
    """
    own_step = type(model).train_step is not keras.Model.train_step
    if own_step and step.changed:
        return {path: bool(step.changed[id(bn.moving_mean)]) for path, bn in layers.items()}
    if moments is not None:
        return moments
    spec = data.x if data is not None else getattr(model, "input", None)
    if spec is None:
        return {}
    try:
        traced = trace(model, (spec,), training=True)
    except CannotMeasure:
        return {}
    return batch_moments(model, traced)


def batch_moments(model: Any, traced: Trace) -> dict[str, bool]:
    """Which of the BatchNorm layers that a pass called use the batch's moments in it, by path.

    They are the ones that assign their moving statistics.
    """
    handles = {id(outside): inside.name for outside, inside in traced.graph.captures}
    assigned = {op.inputs[0].name for op in traced.operations() if op.type.startswith("Assign")}
    called = {call.layer_path for call in traced.calls if call.skipped is None}
    return {
        path: handles.get(id(layer.moving_mean.value.handle)) in assigned
        for path, layer in _batch_norms(_layers(model)).items()
        if path in called
    }
