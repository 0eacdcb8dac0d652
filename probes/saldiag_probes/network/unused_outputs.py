"""What the loss takes no notice of: outputs that have no part in it, inputs that lead nowhere.

Told by the graph, in which the loss is what Keras made of ``compile``: an output with a loss of
``None`` is not in it. A weight of 0 is, as a factor.
"""

from __future__ import annotations

from typing import Any

import keras

from saldiag.core.measurement import IgnoredOutput, OutputLoss
from saldiag.keras_internals.classes import Functional
from saldiag.keras_internals.compilation import sorted_losses
from saldiag.keras_internals.tensors import logits_behind
from saldiag_probes.loss.compiled_loss import config_of, name_of, overrides_compute_loss
from saldiag_probes.trace.backward import Backward, made_of
from saldiag_probes.trace.dataflow import Dataflow
from saldiag_probes.trace.recorder import Trace, flat_tensors


def ignored_outputs(model: Any, back: Backward) -> tuple[IgnoredOutput, ...]:
    """Outputs of several that have no part in the loss."""
    trace, outputs = back.trace, back.trace.outputs
    if len(outputs) < 2:
        return ()
    needed, flow = back.needed, Dataflow(trace)
    weightless = _weighted_by_nothing(model, trace)
    names = list(getattr(model, "output_names", None) or ())
    if len(names) != len(outputs):
        names = [f"output {index}" for index in range(len(outputs))]
    ignored = [not _is_needed(t, needed) or t.op.name in weightless for t in outputs]
    judged = flow.union(t for t, is_ignored in zip(outputs, ignored, strict=True) if not is_ignored)
    return tuple(
        IgnoredOutput(
            name=str(name),
            outputs=tuple(path for path in flow.of(tensor) if path not in judged),
            weight=0.0 if tensor.op.name in needed else None,
        )
        for name, tensor, is_ignored in zip(names, outputs, ignored, strict=True)
        if is_ignored
    )


def _is_needed(output: Any, needed: set[str]) -> bool:
    """Whether the loss is made of an output, or of the logits behind it that Keras takes."""
    logits = logits_behind(output)
    return output.op.name in needed or (logits is not None and logits.op.name in needed)


def judged_outputs(model: Any, trace: Trace) -> tuple[tuple[str, ...] | None, tuple[int, ...]]:
    """The leaf calls of the outputs with a loss of their own, and the places of the others.

    None and nothing where Keras has not sorted the losses: in a training step of the user's own.
    """
    losses = _sorted_losses(model, trace)
    if not losses:
        return None, ()
    theirs = {id(tensor) for _, tensors in losses for tensor in tensors}
    flow = Dataflow(trace)
    paths = flow.union(tensor for tensor in trace.outputs if id(tensor) in theirs)
    others = (place for place, tensor in enumerate(trace.outputs) if id(tensor) not in theirs)
    return paths, tuple(others)


def output_losses(model: Any, trace: Trace) -> tuple[OutputLoss, ...]:
    """The losses of a model with different ones for its outputs, as Keras sorted them.

    Empty where there is one for all, or Keras has not sorted them.
    """
    if overrides_compute_loss(model):
        return ()
    parts: dict[tuple[str, str], tuple[dict[str, Any], list[Any]]] = {}
    for part, tensors in _sorted_losses(model, trace):
        name = name_of(part.loss)
        config = {k: v for k, v in config_of(part.loss).items() if k != "name"}
        parts.setdefault((name, repr(sorted(config.items()))), (config, []))[1].extend(tensors)
    if len(parts) < 2:
        return ()
    flow = Dataflow(trace)
    theirs = {key: {id(tensor) for tensor in tensors} for key, (_, tensors) in parts.items()}
    judged = set().union(*theirs.values())
    order = [id(tensor) for tensor in trace.outputs if id(tensor) in judged]
    return tuple(
        OutputLoss(
            loss=key[0],
            config=config,
            outputs=flow.union(tensors),
            places=tuple(place for place, each in enumerate(order) if each in theirs[key]),
        )
        for key, (config, tensors) in parts.items()
    )


def unused_inputs(model: Any, back: Backward) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Inputs that neither an output nor the loss is made of; those of them that a layer is given.

    A layer can take an input for its shape alone, which is none of the graph's business.
    """
    trace = back.trace
    names = [tensor.name for tensor in getattr(model, "inputs", None) or ()]
    if len(names) != len(trace.inputs):
        names = [f"input {index}" for index in range(len(trace.inputs))]
    unused = {
        tensor.op.name: str(name)
        for name, tensor in zip(names, trace.inputs, strict=True)
        if tensor.op.name not in back.needed_or_shown
    }
    if not unused:
        return (), ()
    given = made_of(t for call in trace.calls if _has_code(call.layer) for t in call.upstream)
    return tuple(unused.values()), tuple(name for op, name in unused.items() if op in given)


def _has_code(layer: Any) -> bool:
    """Whether it is more than a graph of other layers, which hands on what it gets."""
    return layer is not None and not isinstance(layer, (Functional, keras.Sequential))


def _weighted_by_nothing(model: Any, trace: Trace) -> set[str]:
    """Operations of the outputs all of whose losses, as Keras sorted them, have a weight of 0."""
    weights: dict[str, list[float]] = {}
    for part, tensors in _sorted_losses(model, trace):
        given = 1.0 if part.loss_weights is None else part.loss_weights
        for tensor in tensors:
            if isinstance(given, (int, float)):
                weights.setdefault(tensor.op.name, []).append(float(given))
    return {name for name, found in weights.items() if not any(found)}


def _sorted_losses(model: Any, trace: Trace) -> list[tuple[Any, list[Any]]]:
    """Each loss with its weight, and its predictions, as Keras sorted them; none where it did not.

    Keras' own tuple of ``path``, ``loss``, ``loss_weights`` and ``name``.
    """
    parts = sorted_losses(model)
    return [(part, list(flat_tensors(_at(trace.y_pred, part.path, model)))) for part in parts]


def _at(structure: Any, path: tuple[Any, ...], model: Any) -> Any:
    """What stands at ``path``; a list of outputs can be addressed by their names."""
    for key in path:
        if isinstance(structure, (list, tuple)) and isinstance(key, str):
            key = list(model.output_names).index(key)  # noqa: PLW2901
        structure = structure[key]
    return structure
