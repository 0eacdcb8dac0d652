"""SD305: layer outputs shrink from layer to layer."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds, source_of
from saldiag.core.measurement import (
    ActivationRow,
    Activations,
    Measurements,
    OverfitHistory,
    Wiring,
)
from saldiag.core.wording import at_line, label, number
from saldiag.rules.shared.trend_statistics import kendall_tau, theil_sen
from saldiag.rules.verdicts.overfit import verdict_of


class SignalFadesWithDepth(Rule):
    """Layer outputs shrink by orders of magnitude from the first layer to the last.

    ## What it does
    Measures the root mean square of the output of each layer with weights, in one batch before
    training, and fits a line to its logarithm over the execution order. A single small output is
    not reported; a steady decrease over the whole depth is. Normalisation between the layers stops
    such a decrease. A model that learns in the overfit test is not reported.

    ## Why is this bad
    The model's output depends only on the biases, and the gradients shrink by the same factors on
    their way back.

    ## Example
    ```python
    tiny = keras.initializers.RandomNormal(stddev=0.001)
    for _ in range(10):
        x = keras.layers.Dense(64, activation="relu", kernel_initializer=tiny)(x)
    ```

    ## Use instead
    ```python
    for _ in range(10):
        x = keras.layers.Dense(64, activation="relu", kernel_initializer="he_normal")(x)
    ```

    ## Threshold
    - `decades` = 5: powers of ten by which the fitted line falls. A relu network that starts with
      glorot_uniform has half of the variance that He et al. (Delving Deep into Rectifiers, 2015,
      section 2.2) derive and loses 0.15 decades per layer: 3 decades in twenty layers, and it still
      trains.
    - `tau` = 0.9: Kendall's rank correlation between output size and depth. Below it there is no
      clear trend.
    - `min_layers` = 6: minimum number of layers with weights for a trend.
    """

    code = "SD305"
    name = "signal-fades-with-depth"
    severity = "error"
    requires = (Activations, Wiring)
    thresholds = {"decades": 5, "tau": 0.9, "min_layers": 6}
    explains = {
        "SD201": "anywhere",
        "SD202": "anywhere",
        "SD302": "anywhere",
        "SD402": "anywhere",
        "SD801": "anywhere",
    }

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        weighted = {c.path for c in measured.need(Wiring).calls if c.leaf and c.parameters}
        rows = [row for row in measured.need(Activations).rows if row.path in weighted]
        sizes = np.array([_root_mean_square(row) for row in rows])
        usable = np.isfinite(sizes) & (sizes > 0)  # an output of 0 is a cut, not a trend
        rows = [row for row, use in zip(rows, usable, strict=True) if use]
        if len(rows) < limits["min_layers"]:
            raise CannotJudge(
                f"a trend over depth needs at least {limits['min_layers']:.0f} layers with "
                f"weights, got {len(rows)}"
            )
        logs = np.log10(sizes[usable])
        decades = -theil_sen(np.arange(len(logs), dtype=np.float64), logs) * (len(logs) - 1)
        tau = -kendall_tau(logs)
        if decades < limits["decades"] or tau < limits["tau"]:
            return
        if verdict_of(measured.get(OverfitHistory))[0] == "learns":
            return
        first, last = rows[0], rows[-1]
        first_size, last_size = _root_mean_square(first), _root_mean_square(last)
        source = source_of(measured, first.layer)
        yield self.finding(
            f"outputs shrink by {number(decades)} decades over {len(rows)} layers (threshold "
            f"{number(limits['decades'])}), from a root mean square of {number(first_size)} "
            f"({label(first.layer)}) to {number(last_size)} ({label(last.layer)}). "
            f"Use he_normal, or normalise between the layers{at_line(source)}",
            'kernel_initializer="he_normal"',
            layers=(first.layer,),
            evidence={
                "decades": decades,
                "tau": tau,
                "layers": len(rows),
                "first_size": first_size,
                "last_size": last_size,
                "threshold": limits["decades"],
            },
            source=source,
            confidence=0.95,
        )


def _root_mean_square(row: ActivationRow) -> float:
    """Root mean square of a layer's output."""
    return math.hypot(row.mean, row.std)
