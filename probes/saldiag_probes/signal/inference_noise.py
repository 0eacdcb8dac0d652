"""Layers that act in inference as in training: random noise, BatchNormalization on the batch."""

from __future__ import annotations

from saldiag.core.keras_types import GraphOperation, KerasModel, TensorTree
from saldiag_probes.network.trainability import batch_moments
from saldiag_probes.trace.errors import CannotMeasure
from saldiag_probes.trace.recorder import trace_model


def layers_active_in_inference(model: KerasModel, x: TensorTree) -> tuple[str, ...]:
    """Paths of the layers that draw random numbers, or normalise with the batch, in inference mode.

    Read from the graph of ``model(x, training=False)``, in which draws by NumPy do not appear.
    Empty if the model cannot be called.

    Args:
        model: a built model.
        x: its input: a batch or its description.
    """
    try:
        trace = trace_model(model, (x,), training=False)
    except CannotMeasure:
        return ()
    owners = trace.owners()
    drawing = [
        owner.layer_path
        for op, owner in zip(trace.operations(), owners, strict=True)
        if owner is not None and owner.leaf and _draws_random_numbers(op)
    ]
    uses_batch = batch_moments(model, trace)
    return tuple(dict.fromkeys([*drawing, *(path for path, used in uses_batch.items() if used)]))


def _draws_random_numbers(op: GraphOperation) -> bool:
    return "Random" in op.type and "Seed" not in op.type and "Counter" not in op.type
