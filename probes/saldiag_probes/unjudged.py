"""What the loss takes no notice of: outputs that have no part in it, inputs that lead nowhere.

Told by the graph, in which the loss is what Keras made of ``compile``: an output with a loss of
``None`` is not in it. A weight of 0 is, as a factor.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from saldiag.core.measurement import IgnoredOutput
from saldiag_probes.calls import Trace, flat_tensors
from saldiag_probes.wiring import Dataflow


def ignored_outputs(model: Any, trace: Trace, loss: Any) -> tuple[IgnoredOutput, ...] | None:
    """Outputs of several that have no part in the loss; None if that is not in the graph."""
    if getattr(loss, "graph", None) is not trace.graph:
        return None
    outputs = trace.outputs
    if len(outputs) < 2:
        return ()
    needed, flow = _needed([loss]), Dataflow(trace)
    weightless = _weighted_by_nothing(model, trace)
    names = list(getattr(model, "output_names", None) or ())
    if len(names) != len(outputs):
        names = [f"output {index}" for index in range(len(outputs))]
    return tuple(
        IgnoredOutput(str(name), flow.of(tensor), 0.0 if _is_read(tensor, needed) else None)
        for name, tensor in zip(names, outputs, strict=True)
        if not _is_read(tensor, needed) or tensor.op.name in weightless
    )


def _is_read(output: Any, needed: set[str]) -> bool:
    """Whether the loss is made of an output; Keras' cross-entropies read the logits behind it."""
    read = (output, getattr(output, "_keras_logits", None))
    return any(tensor is not None and tensor.op.name in needed for tensor in read)


def unused_inputs(model: Any, trace: Trace, loss: Any) -> tuple[str, ...] | None:
    """Inputs that nothing is made of; None if the loss is not in the graph, which can use them."""
    if getattr(loss, "graph", None) is not trace.graph:
        return None
    needed = _needed([loss, *trace.outputs])
    names = [tensor.name for tensor in getattr(model, "inputs", None) or ()]
    if len(names) != len(trace.inputs):
        names = [f"input {index}" for index in range(len(trace.inputs))]
    return tuple(
        str(name)
        for name, tensor in zip(names, trace.inputs, strict=True)
        if tensor.op.name not in needed
    )


def _needed(tensors: Iterable[Any]) -> set[str]:
    """Names of the operations that any of these tensors is made of."""
    seen: set[str] = set()
    waiting = [tensor.op for tensor in tensors]
    while waiting:
        op = waiting.pop()
        if op.name not in seen:
            seen.add(op.name)
            waiting += [tensor.op for tensor in op.inputs]
    return seen


def _weighted_by_nothing(model: Any, trace: Trace) -> set[str]:
    """Operations of the outputs all of whose losses, as Keras sorted them, have a weight of 0."""
    compiled = getattr(model, "_compile_loss", None)
    weights: dict[str, list[float]] = {}
    for part in getattr(compiled, "_flat_losses", None) or ():
        given = 1.0 if part.loss_weights is None else part.loss_weights
        for tensor in flat_tensors(_at(trace.y_pred, part.path, model)):
            if isinstance(given, (int, float)):
                weights.setdefault(tensor.op.name, []).append(float(given))
    return {name for name, found in weights.items() if not any(found)}


def _at(structure: Any, path: tuple[Any, ...], model: Any) -> Any:
    """What stands at ``path``; a list of outputs can be addressed by their names."""
    for key in path:
        if isinstance(structure, (list, tuple)) and isinstance(key, str):
            key = list(model.output_names).index(key)  # noqa: PLW2901
        structure = structure[key]
    return structure
