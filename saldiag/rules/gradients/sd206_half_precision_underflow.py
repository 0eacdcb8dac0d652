"""SD206: gradients that are too small for float16 become 0."""

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
from saldiag.rules.shared.update_ratios import kernel_columns
from saldiag.rules.shared.wording import at, listed, number, percent
from saldiag.rules.verdicts.overfit import verdict_of


class HalfPrecisionUnderflow(Rule):
    """Under float16 most gradients are exactly 0, and the rest are at float16's lower end.

    ## What it does
    Takes the layers that compute in float16, and of the first recorded steps the share of their
    gradients that is 0 together with the largest gradient of the whole model, times the loss
    scale. Where even that is below float16's normal numbers, the zeros are what has been rounded
    away. A dead unit or a cut leaves other gradients large, and is not meant; neither is a model
    that the overfit test shows to learn.

    ## Why is this bad
    float16 has nothing between 6e-8 and 0. Layers whose gradients fall below get none, and the
    gradients just above are wrong by half of their size.

    ## Example
    ```python
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(), initial_scale=1.0)
    ```

    ## Use instead
    ```python
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam())  # from 32768 on
    ```

    ## Threshold
    - `largest` = 6.1e-5: largest gradient of the model times the loss scale; float16's smallest
      normal number, 2^-14 (IEEE 754, 2019).
    - `zeros` = 0.5: share of zeros in a matrix of weights. Without scaling, Micikevicius et al.
      (Mixed Precision Training, 2018, section 3.2, figure 3) lose 31 % of a network's gradients,
      and it diverges.
    - `first` = 10: recorded steps that count; gradients of a model that has learnt are small.
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
        largest = _largest(history, steps)
        zeros = _zeros(history, steps, half)
        gone = {layer: share for layer, share in zeros.items() if share >= limits["zeros"]}
        if not gone or not 0 < largest < limits["largest"]:
            return
        if verdict_of(measured.get(OverfitHistory))[0] == "learns":
            return
        layers, scale = tuple(gone), float(np.median(history.loss_scale[steps]))
        source = source_of(measured, layers[0])
        yield self.finding(
            f"{listed(layers)}: {percent(max(gone.values()))} of the gradients are 0 in float16; "
            f"the largest of the model is {number(largest)} at a loss scale of {number(scale)} "
            f"(threshold {number(limits['largest'])}). Scale the loss up{at(source)}",
            "optimizer = keras.optimizers.LossScaleOptimizer(optimizer)  # starts at 32768",
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


def _largest(history: GradientHistory, steps: slice) -> float:
    """The model's largest gradient, scaled as float16 sees it, in the middle of those steps."""
    largest = np.nan_to_num(history.maximum[steps], nan=0.0, posinf=np.inf).max(axis=1, initial=0)
    return float(np.median(largest * np.nan_to_num(history.loss_scale[steps], nan=1.0)))


def _zeros(history: GradientHistory, steps: slice, layers: set[str]) -> dict[str, float]:
    """By layer the share of zeros in its matrix of weights, in the middle of those steps."""
    shares: Array = np.nan_to_num(history.zero_share[steps], nan=0.0)
    columns = [i for i in kernel_columns(history) if history.variables[i].layer in layers]
    return {history.variables[i].layer: float(np.median(shares[:, i])) for i in columns}
