"""SD703: BatchNorm computes its statistics from one, two or three values."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds, source_of
from saldiag.core.measurement import (
    Activations,
    DtypeTrace,
    ItemFacts,
    Measurements,
    TrainableStatus,
    Wiring,
)
from saldiag.core.wording import at_line, counted, listed, number
from saldiag.rules.shared.batch_statistics import values_per_channel


class BatchnormOverFewValues(Rule):
    """BatchNorm in training mode normalises over very few values per channel.

    ## What it does
    Counts the values from which each channel's mean and variance are computed: the samples in the
    batch (the batch size of ``fit``, if known) times the positions of the feature map (1 for dense
    features). Layers in inference mode and layers without a fixed shape are ignored. A single value
    is an error, a few values are a warning.

    ## Why is this bad
    A single value equals its own mean: the output is beta for every input, and no gradient passes.
    Two values become +1 and -1. With three, the variance is still a poor estimate; its inverse
    square root, which scales the gradients, becomes large by chance in one layer after another.

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
      ten points of accuracy with 2 images per batch. The statistics are those of Ioffe & Szegedy
      (Batch Normalization, 2015, algorithm 1), which need more than one value.
    """

    code = "SD703"
    name = "batchnorm-over-few-values"
    severity = "error"
    requires = (Wiring,)
    thresholds = {"values": 4}
    explains = {
        "SD008": "same_layer",
        "SD201": "upstream",
        "SD202": "anywhere",
        "SD203": "anywhere",
        "SD301": "anywhere",
        "SD302": "anywhere",
        "SD402": "upstream",
        "SD801": "anywhere",
        "SD802": "anywhere",
    }

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        calls = [c for c in measured.need(Wiring).calls if c.kind == "BatchNormalization"]
        if not calls:
            return
        batch, normalising = _batch_size(measured), _layers_in_training_mode(measured)
        counts = {
            c.layer: n
            for c in calls
            if c.layer in normalising and (n := values_per_channel(c, batch))
        }
        few = {layer: n for layer, n in counts.items() if n < limits["values"]}
        if not few:
            return
        least = min(few.values())
        layers = tuple(layer for layer, n in few.items() if n == least)
        source = source_of(measured, layers[0])
        yield self.finding(
            f"{listed(layers)}: normalised over {counted(least, 'value')} per channel "
            f"(threshold {number(limits['values'])}) with {counted(batch, 'sample')} per batch"
            f"{_effect_of_few_values(least)}. Use a larger batch or GroupNormalization"
            f"{at_line(source)}",
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
    """The batch size of ``fit`` if known (the measured batch may differ), else the measured one."""
    items = measured.get(ItemFacts)
    if items is not None and items.batch_size:
        return items.batch_size
    activations, trace = measured.get(Activations), measured.get(DtypeTrace)
    size = activations.batch_size if activations is not None else 0
    size = size or (trace.batch_size if trace is not None else 0)
    if size < 1:
        raise CannotJudge("the batch size is unknown")
    return size


def _layers_in_training_mode(measured: Measurements) -> set[str]:
    status = measured.get(TrainableStatus)
    if status is None:
        raise CannotJudge(measured.reason(TrainableStatus))
    return {row.path for row in status.normalization if row.training_mode}


def _effect_of_few_values(values: int) -> str:
    if values == 1:
        return ": the output is the same for every input, and no gradient passes"
    if values == 2:
        return ": every value becomes +1 or -1"
    return ""
