"""SD204: gradients are NaN or infinite."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds, source_of
from saldiag.core.measurement import GradientFlow, GradientHistory, Measurements, Wiring
from saldiag.core.wording import at_line, counted, label, listed, number


class NonFiniteGradients(Rule):
    """Gradients contain NaN or infinity.

    ## What it does
    Counts the recorded steps at which the gradient of any variable contained NaN or infinity. Under
    dynamic loss scaling such steps are normal while the scale settles: the optimizer skips them,
    and this rule ignores them up to the threshold.

    ## Why is this bad
    A single step with a NaN gradient makes the weights NaN for good.

    ## Example
    ```python
    loss = -keras.ops.mean(keras.ops.log(p))  # p reaches 0
    ```

    ## Use instead
    ```python
    loss = -keras.ops.mean(keras.ops.log(p + 1e-7))
    ```

    ## Threshold
    - `scaled_share` = 0.5: share of steps above which they are reported under loss scaling. The
      scale is halved at each overflow and settles within a few steps (Micikevicius et al., Mixed
      Precision Training, 2018, section 3.2). Without loss scaling, a single step is reported.
    """

    code = "SD204"
    name = "non-finite-gradients"
    severity = "error"
    requires = ()
    thresholds = {"scaled_share": 0.5}
    explains = {"SD505": "anywhere", "SD801": "anywhere"}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        history, flow = measured.get(GradientHistory), measured.get(GradientFlow)
        if history is not None and len(history.steps):
            layers, share, steps = _non_finite_in_history(history)
        elif flow is not None:
            layers, share, steps = _non_finite_in_flow(flow)
        else:
            raise CannotJudge(measured.reason(GradientFlow))
        limit = limits["scaled_share"] if _uses_loss_scaling(measured, history) else 0.0
        if not layers or share <= limit:
            return
        source = source_of(measured, layers[-1])
        yield self.finding(
            f"{listed(layers)}: gradients are NaN or infinite in {number(share * steps)} of "
            f"{counted(steps, 'step')} (threshold {number(limit * steps)}). "
            f"Find the first operation that returns NaN or infinity{at_line(source)}",
            "tf.debugging.enable_check_numerics()  # stops at the first NaN or infinity; "
            f"{label(layers[-1])} is the nearest to the loss",
            layers=layers,
            evidence={"share_of_steps": share, "threshold": limit, "steps": steps},
            source=source,
        )


def _non_finite_in_history(history: GradientHistory) -> tuple[list[str], float, int]:
    """The layers concerned, the share of steps at which any is, and the number of steps."""
    bad = np.nan_to_num(history.nonfinite_share, nan=0.0) > 0
    layers = [v.layer for v, column in zip(history.variables, bad.T, strict=True) if column.any()]
    return list(dict.fromkeys(layers)), float(bad.any(axis=1).mean()), len(history.steps)


def _non_finite_in_flow(flow: GradientFlow) -> tuple[list[str], float, int]:
    """The same for the one batch of the gradient flow."""
    layers = [
        row.layer
        for row in flow.variables
        if row.nonfinite_share > 0 or (row.norm is not None and not math.isfinite(row.norm))
    ]
    return list(dict.fromkeys(layers)), 1.0, 1


def _uses_loss_scaling(measured: Measurements, history: GradientHistory | None) -> bool:
    wiring = measured.get(Wiring)
    declared = wiring is not None and wiring.loss_scaled
    return declared or (history is not None and bool(np.any(history.loss_scale > 1)))
