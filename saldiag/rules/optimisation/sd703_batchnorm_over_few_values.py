"""SD703: BatchNorm takes its statistics from one, two or three values."""

from __future__ import annotations

import math
from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds, source_of
from saldiag.core.measurement import (
    Activations,
    DtypeTrace,
    ItemFacts,
    LayerCall,
    Measurements,
    TrainableStatus,
    Wiring,
)
from saldiag.rules.shared.wording import at, counted, listed, number


class BatchnormOverFewValues(Rule):
    """BatchNorm in training mode normalises with hardly any values per channel.

    ## What it does
    Counts the values that each channel's mean and variance are taken from: the samples in the
    batch (the one that ``fit`` takes, where that is known) times the places of the map (1 for dense
    features). Layers in inference mode, and shapes that are not fixed, are left alone. A single
    value is an error, a few are a warning.

    ## Why is this bad
    A single value is its own mean: the output is beta, whatever the input, and no gradient passes.
    Two values become +1 and -1. With three the variance is still a guess; its inverse root, which
    multiplies the gradients, is large by chance, in one layer after the other.

    ## Example
    ```python
    x = keras.layers.BatchNormalization()(keras.layers.Dense(64)(x))
    model.fit(images, labels, batch_size=1)
    ```

    ## Use instead
    ```python
    x = keras.layers.GroupNormalization(8)(keras.layers.Dense(64)(x))
    model.fit(images, labels, batch_size=16)
    ```

    ## Threshold
    - `values` = 4: fewest values per channel. Wu & He (Group Normalization, 2018, figure 1) lose
      ten points of accuracy at 2 images in a batch; the statistics are those of Ioffe & Szegedy
      (Batch Normalization, 2015, algorithm 1), which are no statistics for one value.
    """

    code = "SD703"
    name = "batchnorm-over-few-values"
    severity = "error"
    requires = (Wiring,)
    thresholds = {"values": 4}
    explains = {
        "SD201": "upstream", "SD202": "anywhere", "SD203": "anywhere", "SD301": "anywhere",
        "SD302": "anywhere", "SD402": "upstream", "SD801": "anywhere", "SD802": "anywhere",
    }  # fmt: skip

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        calls = [c for c in measured.need(Wiring).calls if c.kind == "BatchNormalization"]
        if not calls:
            return
        batch, normalising = _batch_size(measured), _in_training_mode(measured)
        counts = {c.layer: n for c in calls if c.layer in normalising and (n := _values(c, batch))}
        few = {layer: n for layer, n in counts.items() if n < limits["values"]}
        if not few:
            return
        least = min(few.values())
        layers = tuple(layer for layer, n in few.items() if n == least)
        source = source_of(measured, layers[0])
        yield self.finding(
            f"{listed(layers)}: normalised with {counted(least, 'value')} per channel "
            f"(threshold {number(limits['values'])}) at {counted(batch, 'sample')} in the batch"
            f"{_effect(least)}. Use a larger batch, or GroupNormalization{at(source)}",
            "keras.layers.GroupNormalization(groups=8)  # or batch_size=16",
            layers=layers,
            evidence={
                "values": least,
                "threshold": limits["values"],
                "batch_size": batch,
                "layers_below": len(few),
                "layers": len(counts),
            },
            source=source,
            severity="error" if least == 1 else "warning",
        )


def _batch_size(measured: Measurements) -> int:
    """That of ``fit`` where it is known: what was looked at can be another batch."""
    items = measured.get(ItemFacts)
    if items is not None and items.batch_size:
        return items.batch_size
    activations, trace = measured.get(Activations), measured.get(DtypeTrace)
    size = activations.batch_size if activations is not None else 0
    size = size or (trace.batch_size if trace is not None else 0)
    if size < 1:
        raise CannotJudge("the size of a batch is not known")
    return size


def _in_training_mode(measured: Measurements) -> set[str]:
    status = measured.get(TrainableStatus)
    if status is None:
        raise CannotJudge(measured.reason(TrainableStatus))
    return {row.path for row in status.normalization if row.training_mode}


def _values(call: LayerCall, batch: int) -> int | None:
    """Values per channel; ``None`` where the shape is not fixed, or the samples are synchronised.

    ``None`` stands first in a shape: it is the batch.
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


def _effect(values: int) -> str:
    if values == 1:
        return ": its output is the same for every input, and no gradient passes"
    if values == 2:
        return ": each of them becomes +1 or -1"
    return ""
