"""SD301: ReLU units that output zero for every sample."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds, source_of
from saldiag.core.measurement import (
    ActivationRow,
    Activations,
    GradientHistory,
    Measurements,
    Wiring,
)
from saldiag.core.wording import at_line, counted, label, percent
from saldiag.rules.shared.graph import Network

RELUS = frozenset({"relu", "relu6"})


class DeadRelu(Rule):
    """Nearly all units of a ReLU layer output zero for every sample.

    ## What it does
    Measures the share of a ReLU layer's units (channels) that are zero for every sample and
    position of one batch. A layer without a live unit is an error, because no gradient passes
    through it. A layer with a few live units is a warning. If training steps were recorded, the
    message also gives the share of the layer's weights without a gradient at the last step: at
    100 %, the units cannot recover.

    ## Why is this bad
    A ReLU whose input is negative for every sample has a gradient of exactly 0, so the weights
    before it never change. A large negative bias, or one step with too high a learning rate, is
    enough.

    ## Example
    ```python
    negative = keras.initializers.Constant(-10)
    x = keras.layers.Dense(64, activation="relu", bias_initializer=negative)(x)
    ```

    ## Use instead
    ```python
    x = keras.layers.Dense(64, activation="relu", kernel_initializer="he_normal")(x)
    ```

    ## Threshold
    - `dead_share` = 0.9: share of dead units. With centred inputs, about half of a healthy layer's
      values are zero at initialisation, but hardly any unit is zero for every sample (Lu et al.,
      Dying ReLU and Initialization, 2020, theorem 3.1).
    - `min_samples` = 4: minimum number of samples in the batch. In a smaller batch, live units can
      be zero for every sample by chance.
    """

    code = "SD301"
    name = "dead-relu"
    severity = "error"
    requires = (Activations,)
    thresholds = {"dead_share": 0.9, "min_samples": 4}
    explains = {
        "SD201": "same_layer",
        "SD302": "downstream",
        "SD402": "upstream",
        "SD801": "anywhere",
    }

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        activations = measured.need(Activations)
        if activations.batch_size < limits["min_samples"]:
            raise CannotJudge(
                f"needs a batch of at least {limits['min_samples']:.0f} samples, "
                f"got {counted(activations.batch_size, 'sample')}"
            )
        for row in activations.rows:
            relu = row.leaf and row.activation in RELUS
            if relu and row.dead_share >= limits["dead_share"]:
                yield self._dead_units_finding(measured, row, limits["dead_share"])

    def _dead_units_finding(
        self, measured: Measurements, row: ActivationRow, limit: float
    ) -> Finding:
        source, frozen = source_of(measured, row.layer), _share_without_gradient(measured, row)
        last_step = ""
        if frozen is not None:
            last_step = f"; {percent(frozen)} of its weights received no gradient at the last step"
        return self.finding(
            f"{label(row.layer)}: {percent(row.dead_share)} of its {row.activation} units are 0 "
            f"for every sample (threshold {percent(limit)}){last_step}. "
            f"Use he_normal with zero biases, or a lower learning rate{at_line(source)}",
            'kernel_initializer="he_normal", bias_initializer="zeros"',
            layers=(row.layer,),
            evidence={
                "dead_share": row.dead_share,
                "zero_share": row.zero_share,
                "threshold": limit,
                "without_gradient_at_end": frozen,
            },
            source=source,
            severity="error" if row.dead_share == 1.0 else "warning",
        )


def _share_without_gradient(measured: Measurements, row: ActivationRow) -> float | None:
    """Share of the weights behind the ReLU's input with a gradient of 0 at the last recorded step.

    The weights are those of the ReLU's own layer or, if it has none, of the layer before it. None
    if no steps were recorded or neither layer has weights.
    """
    history, wiring = measured.get(GradientHistory), measured.get(Wiring)
    if history is None or not len(history.steps):
        return None
    before = Network(wiring).before(row.path) if wiring is not None else None
    for layer in (row.layer, before.layer if before is not None else ""):
        columns = [i for i, v in enumerate(history.variables) if v.layer == layer]
        if columns:
            sizes = [float(np.prod(history.variables[i].shape)) for i in columns]
            shares = np.nan_to_num(history.zero_share[-1, columns], nan=1.0)
            return float(np.average(shares, weights=sizes))
    return None
