"""Outputs without effect on the loss, and inputs without effect on loss and outputs.

Read from the graph, in which the loss is what Keras made of ``compile``: an output with a loss of
``None`` is not part of it, one with a weight of 0 is, as a factor.
"""

from __future__ import annotations

from typing import Any

import keras

from saldiag.core.keras_types import KerasLayer, KerasModel, TensorTree
from saldiag.core.measurement import IgnoredOutput, OutputLoss
from saldiag.keras_internals.classes import Functional
from saldiag.keras_internals.compilation import sorted_losses
from saldiag.keras_internals.graphs import logits_behind
from saldiag_probes.loss.compiled_loss import (
    overrides_compute_loss,
    single_loss_config,
    single_loss_name,
)
from saldiag_probes.trace.backward import LossDependencies, ancestor_operations
from saldiag_probes.trace.calls import Trace, flat_tensors
from saldiag_probes.trace.dataflow import Dataflow


def ignored_outputs(model: KerasModel, dependencies: LossDependencies) -> tuple[IgnoredOutput, ...]:
    """The outputs without effect on the loss; empty for a model with one output."""
    trace, outputs = dependencies.trace, dependencies.trace.outputs
    if len(outputs) < 2:
        return ()
    loss_operations, flow = dependencies.used_by_loss, Dataflow(trace)
    zero_weighted = _zero_weighted_outputs(model, trace)
    names = list(getattr(model, "output_names", None) or ())
    if len(names) != len(outputs):
        names = [f"output {index}" for index in range(len(outputs))]
    ignored = [not _affects_loss(t, loss_operations) or t.op.name in zero_weighted for t in outputs]
    judged = flow.sources_of_any(
        t for t, is_ignored in zip(outputs, ignored, strict=True) if not is_ignored
    )
    return tuple(
        IgnoredOutput(
            name=str(name),
            outputs=tuple(path for path in flow.sources_of(tensor) if path not in judged),
            weight=0.0 if tensor.op.name in loss_operations else None,
        )
        for name, tensor, is_ignored in zip(names, outputs, ignored, strict=True)
        if is_ignored
    )


def _affects_loss(output: Any, loss_operations: set[str]) -> bool:
    """Whether the loss depends on an output, or on the logits that Keras uses in its place."""
    logits = logits_behind(output)
    return output.op.name in loss_operations or (
        logits is not None and logits.op.name in loss_operations
    )


def outputs_with_loss(
    model: KerasModel, trace: Trace
) -> tuple[tuple[str, ...] | None, tuple[int, ...]]:
    """The leaf calls of the outputs that have a loss, and the indices of the outputs without one.

    None and an empty tuple if Keras did not assign losses to outputs: under a custom training step.
    """
    losses = _losses_with_predictions(model, trace)
    if not losses:
        return None, ()
    tensor_ids = {id(tensor) for _, tensors in losses for tensor in tensors}
    flow = Dataflow(trace)
    paths = flow.sources_of_any(tensor for tensor in trace.outputs if id(tensor) in tensor_ids)
    without_loss = (
        index for index, tensor in enumerate(trace.outputs) if id(tensor) not in tensor_ids
    )
    return paths, tuple(without_loss)


def output_losses(model: KerasModel, trace: Trace) -> tuple[OutputLoss, ...]:
    """The losses of a model whose outputs have different ones, as Keras assigned them.

    Empty if all outputs share one loss, or Keras did not assign losses to outputs.
    """
    if overrides_compute_loss(model):
        return ()
    parts: dict[tuple[str, str], tuple[dict[str, Any], list[Any]]] = {}
    for part, tensors in _losses_with_predictions(model, trace):
        name = single_loss_name(part.loss)
        config = {k: v for k, v in single_loss_config(part.loss).items() if k != "name"}
        parts.setdefault((name, repr(sorted(config.items()))), (config, []))[1].extend(tensors)
    if len(parts) < 2:
        return ()
    flow = Dataflow(trace)
    tensor_ids = {key: {id(tensor) for tensor in tensors} for key, (_, tensors) in parts.items()}
    judged = set().union(*tensor_ids.values())
    order = [id(tensor) for tensor in trace.outputs if id(tensor) in judged]
    return tuple(
        OutputLoss(
            loss=key[0],
            config=config,
            outputs=flow.sources_of_any(tensors),
            places=tuple(
                index for index, tensor_id in enumerate(order) if tensor_id in tensor_ids[key]
            ),
        )
        for key, (config, tensors) in parts.items()
    )


def unused_inputs(
    model: KerasModel, dependencies: LossDependencies
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of inputs that affect neither outputs nor loss; those of them that a layer receives.

    A layer can use only the shape of an input, which leaves no path in the graph.
    """
    trace = dependencies.trace
    names = [tensor.name for tensor in getattr(model, "inputs", None) or ()]
    if len(names) != len(trace.inputs):
        names = [f"input {index}" for index in range(len(trace.inputs))]
    unused = {
        tensor.op.name: str(name)
        for name, tensor in zip(names, trace.inputs, strict=True)
        if tensor.op.name not in dependencies.used_by_loss_or_outputs
    }
    if not unused:
        return (), ()
    given = ancestor_operations(
        t for call in trace.calls if _has_code(call.layer) for t in call.upstream
    )
    return tuple(unused.values()), tuple(name for op, name in unused.items() if op in given)


def _has_code(layer: KerasLayer | None) -> bool:
    """Whether a layer is more than a graph of other layers that passes its inputs on."""
    return layer is not None and not isinstance(layer, (Functional, keras.Sequential))


def _zero_weighted_outputs(model: KerasModel, trace: Trace) -> set[str]:
    """Operations of the outputs whose losses all have a weight of 0."""
    weights: dict[str, list[float]] = {}
    for part, tensors in _losses_with_predictions(model, trace):
        given = 1.0 if part.loss_weights is None else part.loss_weights
        for tensor in tensors:
            if isinstance(given, (int, float)):
                weights.setdefault(tensor.op.name, []).append(float(given))
    return {name for name, values in weights.items() if not any(values)}


def _losses_with_predictions(model: KerasModel, trace: Trace) -> list[tuple[Any, list[Any]]]:
    """Each loss, as Keras assigned it to outputs, with its predictions; empty if Keras did not.

    The loss is Keras' own tuple of ``path``, ``loss``, ``loss_weights`` and ``name``.
    """
    parts = sorted_losses(model)
    return [
        (part, list(flat_tensors(_output_at_path(trace.y_pred, part.path, model))))
        for part in parts
    ]


def _output_at_path(structure: TensorTree, path: tuple[Any, ...], model: KerasModel) -> Any:
    """The output at ``path``; an output in a list can be addressed by its name."""
    for key in path:
        if isinstance(structure, (list, tuple)) and isinstance(key, str):
            key = list(model.output_names).index(key)  # noqa: PLW2901
        structure = structure[key]
    return structure
