"""SD008: BatchNorm computes its statistics from too few values of one replica."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds, source_of
from saldiag.core.measurement import Distribution, Measurements, TrainableStatus, Wiring
from saldiag.core.wording import at_line, counted, listed, number
from saldiag.rules.shared.batch_statistics import values_per_channel


class BatchnormOverOneReplica(Rule):
    """BatchNorm normalises over the few items of one replica.

    ## What it does
    Counts the values per channel in one replica: its items times the positions of the feature map
    (1 for dense features). Layers with ``synchronized=True``, layers in inference mode and layers
    without a fixed shape are ignored. A single value is an error, a few are a warning.

    ## Why is this bad
    BatchNorm sees one replica's share of the global batch. With N devices each mean and variance
    comes from an Nth of the items, and a batch that is large enough on one device is too small on
    eight.

    ## Example
    ```python
    strategy = tf.distribute.MirroredStrategy()  # 8 devices
    x = keras.layers.BatchNormalization()(keras.layers.Dense(64)(x))
    model.fit(images, labels, batch_size=16)
    ```

    ## Use instead
    ```python
    strategy = tf.distribute.MirroredStrategy()  # 8 devices
    x = keras.layers.BatchNormalization(synchronized=True)(keras.layers.Dense(64)(x))
    model.fit(images, labels, batch_size=128)
    ```

    ## Threshold
    - `values` = 4: fewest values per channel in a replica. Wu & He (Group Normalization, 2018,
      figure 1) lose ten points of accuracy with 2 images per device.
    """

    code = "SD008"
    name = "batchnorm-over-one-replica"
    severity = "error"
    requires = (
        Distribution,
        Wiring,
    )
    thresholds = {"values": 4}
    explains = {"SD004": "anywhere", "SD802": "anywhere"}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        distribution = measured.need(Distribution)
        if distribution.replicas < 2:
            return
        known = distribution.items[np.isfinite(distribution.items).all(axis=1)]
        if not len(known):
            raise CannotJudge("the items of the replicas are unknown")
        items = int(known[0].min())
        few = {
            layer: values
            for layer, values in _values_per_channel(measured, items).items()
            if values < limits["values"]
        }
        if not few:
            return
        least = min(few.values())
        layers = tuple(layer for layer, values in few.items() if values == least)
        source = source_of(measured, layers[0])
        yield self.finding(
            f"{listed(layers)}: normalised over {counted(least, 'value')} per channel (threshold "
            f"{number(limits['values'])}) in each of {distribution.replicas} replicas, which read "
            f"{counted(items, 'item')} of {number(known[0].sum())}. Normalise over all replicas, "
            f"or use a larger batch{at_line(source)}",
            "keras.layers.BatchNormalization(synchronized=True)",
            layers=layers,
            evidence={
                "values": least,
                "threshold": limits["values"],
                "items_per_replica": items,
                "replicas": distribution.replicas,
            },
            source=source,
            severity="error" if least == 1 else "warning",
        )


def _values_per_channel(measured: Measurements, items: int) -> dict[str, int]:
    """Values per channel in one replica, of each BatchNorm layer that is not in inference mode."""
    status = measured.get(TrainableStatus)
    idle = {r.path for r in status.normalization if r.training_mode is False} if status else set()
    return {
        call.layer: values
        for call in measured.need(Wiring).calls
        if call.kind == "BatchNormalization"
        and call.layer not in idle
        and (values := values_per_channel(call, items))
    }
