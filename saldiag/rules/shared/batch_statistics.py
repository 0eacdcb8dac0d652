"""From how many values BatchNorm computes its statistics."""

from __future__ import annotations

import math

from saldiag.core.measurement import LayerCall


def values_per_channel(call: LayerCall, batch: int) -> int | None:
    """Values per channel; None if the shape is not fixed or the layer synchronises replicas.

    The first entry of a shape is the batch, None.

    Args:
        call: a call of a BatchNormalization layer.
        batch: number of items.
    """
    if call.config.get("synchronized") or not call.input_shapes:
        return None
    shape = list(call.input_shapes[0][1:])
    axis = call.config.get("axis", -1)
    if not isinstance(axis, int) or not shape:
        return None
    axis = axis - 1 if axis > 0 else axis
    if axis >= len(shape) or axis < -len(shape):
        return None
    del shape[axis]
    if any(size is None for size in shape):
        return None
    return batch * math.prod(size for size in shape if size is not None)
