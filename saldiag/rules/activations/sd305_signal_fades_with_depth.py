"""SD305: the signal shrinks from layer to layer on its way to the output."""

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
from saldiag.rules.shared.trend_statistics import kendall_tau, theil_sen
from saldiag.rules.shared.wording import at, label, number
from saldiag.rules.verdicts.overfit import verdict_of


class SignalFadesWithDepth(Rule):
    """Layer outputs shrink by orders of magnitude from the first layer to the last.

    ## What it does
    Takes the size (root mean square) of what every layer with weights puts out, in one batch
    before training, and fits a line to its logarithm over the order of execution. One small output
    is no finding; a steady fall through the whole depth is, unless the overfit test shows that the
    model learns all the same. Normalisation anywhere in between ends such a fall.

    ## Why is this bad
    What comes out depends on the biases alone, and the gradients on their way back shrink by the
    same factors.

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
      glorot_uniform, half of what He et al. (Delving Deep into Rectifiers, 2015, section 2.2)
      derive, loses 0.15 decades a layer: 3 in twenty layers, and still trains.
    - `tau` = 0.9: Kendall's rank correlation of size and depth, so that it is a trend.
    - `min_layers` = 6: fewest layers with weights that make a trend.
    """

    code = "SD305"
    name = "signal-fades-with-depth"
    severity = "error"
    requires = (Activations, Wiring)
    thresholds = {"decades": 5, "tau": 0.9, "min_layers": 6}
    explains = {
        "SD201": "anywhere", "SD202": "anywhere", "SD302": "anywhere", "SD402": "anywhere",
        "SD801": "anywhere",
    }  # fmt: skip

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        weighted = {c.path for c in measured.need(Wiring).calls if c.leaf and c.parameters}
        rows = [row for row in measured.need(Activations).rows if row.path in weighted]
        sizes = np.array([_size(row) for row in rows])
        usable = np.isfinite(sizes) & (sizes > 0)  # zeros are a cut, not a trend
        rows = [row for row, use in zip(rows, usable, strict=True) if use]
        if len(rows) < limits["min_layers"]:
            raise CannotJudge(
                f"a trend in depth needs {limits['min_layers']:.0f} layers with weights, "
                f"there are {len(rows)}"
            )
        logs = np.log10(sizes[usable])
        decades = -theil_sen(np.arange(len(logs), dtype=np.float64), logs) * (len(logs) - 1)
        tau = -kendall_tau(logs)
        if decades < limits["decades"] or tau < limits["tau"]:
            return
        if verdict_of(measured.get(OverfitHistory))[0] == "learns":
            return
        first, last = rows[0], rows[-1]
        source = source_of(measured, first.layer)
        yield self.finding(
            f"outputs shrink {number(decades)} decades over {len(rows)} layers, from "
            f"{number(_size(first))} ({label(first.layer)}) to {number(_size(last))} "
            f"({label(last.layer)}) (threshold {number(limits['decades'])}). "
            f"Use he_normal, or normalise in between{at(source)}",
            'kernel_initializer="he_normal"',
            layers=(first.layer,),
            evidence={
                "decades": decades,
                "tau": tau,
                "layers": len(rows),
                "first_size": _size(first),
                "last_size": _size(last),
                "threshold": limits["decades"],
            },
            source=source,
            confidence=0.95,
        )


def _size(row: ActivationRow) -> float:
    """Root mean square."""
    return math.hypot(row.mean, row.std)
