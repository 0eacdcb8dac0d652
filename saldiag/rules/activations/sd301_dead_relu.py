"""SD301: units that put out zero for every sample."""

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
from saldiag.rules.shared.graph import Network
from saldiag.rules.shared.wording import at, counted, label, percent

RELUS = frozenset({"relu", "relu6"})


class DeadRelu(Rule):
    """Nearly all units of a ReLU layer are zero for every sample and place.

    ## What it does
    Takes the share of a ReLU layer's units (channels) that are zero everywhere in the batch. A
    layer with no living unit is an error: no gradient passes it. A few living ones are a warning.
    Where steps were recorded, the share of its weights that got no gradient at the last tells
    whether anything can bring the units back.

    ## Why is this bad
    A ReLU that is negative for every input has a gradient of exactly 0, and so it stays. A large
    negative bias, or one step with too large a learning rate, is enough.

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
    - `dead_share` = 0.9: share of dead units. With centred inputs a healthy layer starts with half
      of its values at zero, but hardly a unit that is zero for all samples (Lu et al., Dying ReLU
      and Initialization, 2020, theorem 3.1).
    - `min_samples` = 4: fewest samples in the batch for *every sample* to mean something.
    """

    code = "SD301"
    name = "dead-relu"
    severity = "error"
    requires = (Activations,)
    thresholds = {"dead_share": 0.9, "min_samples": 4}
    explains = {
        "SD201": "same_layer", "SD302": "downstream", "SD402": "upstream", "SD801": "anywhere",
    }  # fmt: skip

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        activations = measured.need(Activations)
        if activations.batch_size < limits["min_samples"]:
            raise CannotJudge(
                f"{counted(activations.batch_size, 'sample')} in the batch, "
                f"needs {limits['min_samples']:.0f}"
            )
        for row in activations.rows:
            relu = row.leaf and row.activation in RELUS
            if relu and row.dead_share >= limits["dead_share"]:
                yield self._dead(measured, row, limits["dead_share"])

    def _dead(self, measured: Measurements, row: ActivationRow, limit: float) -> Finding:
        source, still = source_of(measured, row.layer), _without_gradient(measured, row)
        after = ""
        if still is not None:
            after = f"; at the last step {percent(still)} of its weights got no gradient"
        return self.finding(
            f"{label(row.layer)}: {percent(row.dead_share)} of its {row.activation} units are 0 "
            f"for every sample (threshold {percent(limit)}){after}. "
            f"Use he_normal with zero biases, or a smaller learning rate{at(source)}",
            'kernel_initializer="he_normal", bias_initializer="zeros"',
            layers=(row.layer,),
            evidence={
                "dead_share": row.dead_share, "zero_share": row.zero_share, "threshold": limit,
                "without_gradient_at_end": still,
            },
            source=source,
            severity="error" if row.dead_share == 1.0 else "warning",
        )  # fmt: skip


def _without_gradient(measured: Measurements, row: ActivationRow) -> float | None:
    """The share of the weights before the ReLU that got a gradient of 0 at the last step."""
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
