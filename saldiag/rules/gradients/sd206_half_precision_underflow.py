"""SD206: gradients underflow to 0 in float16."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds, source_of
from saldiag.core.measurement import (
    Array,
    DtypeTrace,
    GradientHistory,
    Measurements,
    OverfitHistory,
)
from saldiag.core.wording import at_line, listed, number, percent
from saldiag.rules.shared.update_ratios import kernel_columns
from saldiag.rules.verdicts.overfit import verdict_of


class HalfPrecisionUnderflow(Rule):
    """In float16 most gradients are exactly 0, and the largest is below its normal range.

    ## What it does
    Looks at the layers that compute in float16 in the first recorded steps. A layer is reported if
    most of its gradients are 0 while the largest gradient of the whole model, times the loss scale,
    is below float16's smallest normal number: the zeros are then underflow. With a dead unit or a
    gradient cut, other gradients stay large, and nothing is reported. Nothing is reported either if
    the model learns in the overfit test.

    ## Why is this bad
    float16 has no number between 6e-8 and 0. Layers with smaller gradients get none, and the
    gradients slightly above are wrong by up to half of their size.

    ## Example
    ```python
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(), initial_scale=1.0)
    ```

    ## Use instead
    ```python
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam())  # starts at 32768
    ```

    ## Threshold
    - `largest` = 6.1e-5: largest gradient of the model times the loss scale; float16's smallest
      normal number is 2^-14 (IEEE 754, 2019).
    - `zeros` = 0.5: share of zeros in the gradient of a weight matrix. Without scaling,
      Micikevicius et al. (Mixed Precision Training, 2018, section 3.2, figure 3) lose 31 % of a
      network's gradients, and it diverges.
    - `first` = 10: recorded steps that count; the gradients of a trained model are small anyway.
    """

    code = "SD206"
    name = "half-precision-underflow"
    severity = "error"
    requires = (DtypeTrace, GradientHistory)
    thresholds = {"largest": 6.1e-5, "zeros": 0.5, "first": 10}
    explains = {"SD201": "anywhere", "SD202": "anywhere", "SD402": "anywhere", "SD801": "anywhere"}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        trace, history = measured.need(DtypeTrace), measured.need(GradientHistory)
        half = {row.layer for row in trace.rows if row.leaf and row.compute == "float16"}
        steps = slice(0, int(limits["first"]))
        if not half or not len(history.steps):
            return
        largest = _largest_scaled_gradient(history, steps)
        zeros = _zero_share_by_layer(history, steps, half)
        gone = {layer: share for layer, share in zeros.items() if share >= limits["zeros"]}
        if not gone or not 0 < largest < limits["largest"]:
            return
        if verdict_of(measured.get(OverfitHistory))[0] == "learns":
            return
        layers, scale = tuple(gone), float(np.median(history.loss_scale[steps]))
        source = source_of(measured, layers[0])
        yield self.finding(
            f"{listed(layers)}: {percent(max(gone.values()))} of the gradients are 0 in float16; "
            f"the model's largest gradient, times the loss scale of {number(scale)}, is "
            f"{number(largest)} (threshold {number(limits['largest'])}). Increase the loss "
            f"scale{at_line(source)}",
            "keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=32768)",
            layers=layers,
            evidence={
                "zero_share": max(gone.values()),
                "largest": largest,
                "threshold": limits["largest"],
                "loss_scale": scale,
                "layers": len(gone),
            },
            source=source,
            confidence=0.95,
        )


def _largest_scaled_gradient(history: GradientHistory, steps: slice) -> float:
    """The median over ``steps`` of the model's largest gradient times the loss scale."""
    largest = np.nan_to_num(history.maximum[steps], nan=0.0, posinf=np.inf).max(axis=1, initial=0)
    return float(np.median(largest * np.nan_to_num(history.loss_scale[steps], nan=1.0)))


def _zero_share_by_layer(
    history: GradientHistory, steps: slice, layers: set[str]
) -> dict[str, float]:
    """The median over ``steps`` of the share of zeros in each layer's kernel gradient."""
    shares: Array = np.nan_to_num(history.zero_share[steps], nan=0.0)
    columns = [i for i in kernel_columns(history) if history.variables[i].layer in layers]
    return {history.variables[i].layer: float(np.median(shares[:, i])) for i in columns}
