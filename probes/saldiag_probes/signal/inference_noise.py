"""Layers that behave in inference as they do in training: noise, and BatchNorm on the batch."""

from __future__ import annotations

from typing import Any

from saldiag_probes.network.trainability import batch_moments
from saldiag_probes.trace.recorder import CannotMeasure, trace


def layers_active_in_inference(model: Any, x: Any) -> tuple[str, ...]:
    """Paths of the layers that draw random numbers, or normalise with the batch, in inference.

    Told from the graph of ``model(x, training=False)``; draws by numpy are not in it.

    Args:
        model: a built model.
        x: its inputs: a batch or its description.
    """
    try:
        traced = trace(model, (x,), training=False)
    except CannotMeasure:
        return ()
    owners = traced.owners()
    drawing = [
        owner.layer_path
        for op, owner in zip(traced.operations(), owners, strict=True)
        if owner is not None and owner.leaf and _draws(op)
    ]
    moments = batch_moments(model, traced)
    return tuple(dict.fromkeys([*drawing, *(path for path, used in moments.items() if used)]))


def _draws(op: Any) -> bool:
    return "Random" in op.type and "Seed" not in op.type and "Counter" not in op.type
