"""SD201: the gradient dies in one layer, and nothing before it learns."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds, source_of
from saldiag.core.measurement import GradientFlow, GradientHistory, Measurements, Wiring
from saldiag.rules.shared.gradient_cut import LIMITS, Cut, cuts
from saldiag.rules.shared.wording import at, counted, label, listed, number


class GradientCut(Rule):
    """A layer gets a gradient and passes none on, and trainable layers before it starve.

    ## What it does
    Compares |dL/d(output)| and |dL/d(input)| of every layer call. Where the first is above 0 and
    the second is 0 up to rounding, or no path exists at all, and a trainable layer can be reached
    from the loss in no other way, the layer is named. A detached branch whose layers learn by
    another way, a frozen encoder, and a zero that the layer's own first step will lift (weights
    that start at 0, as in residual branches) are no cuts. Where trainable layers beside the cut get
    a gradient by another way, as the values of an attention with a single key do, it is a warning.
    Without the flow, the history of gradients tells which layers starve.

    ## Why is this bad
    No optimizer, learning rate or loss scale brings back a gradient that is 0: everything before
    the cut stays as it was initialised.

    ## Example
    ```python
    x = keras.ops.round(keras.layers.Dense(64, activation="sigmoid")(x))
    ```

    ## Use instead
    ```python
    x = keras.layers.Dense(64, activation="sigmoid")(x)
    ```

    ## Threshold
    - `rounding` = 1e-6: |dL/d(input)| as a share of |dL/d(output)| that counts as 0. The rounding
      of float32 is 2^-24 = 6e-8 (IEEE 754, 2019), and what is left of a softmax over one channel.
    - `lifted` = 0.001: share of |dL/d(output)| that the gradient of the layer's own weights must
      exceed for its next step to lift the zero.
    """

    code = "SD201"
    name = "gradient-cut"
    severity = "error"
    requires = ()
    thresholds = LIMITS
    explains = {"SD402": "upstream", "SD801": "anywhere"}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        flow, history = measured.get(GradientFlow), measured.get(GradientHistory)
        if flow is None:
            yield from self._by_history(measured, history)
            return
        found = cuts(flow, measured.get(Wiring), history, limits)
        for cut in found:
            yield self._cut(measured, cut, limits["rounding"])
        if not found and _loss_gives_nothing(flow):
            yield self._no_gradient_at_all(measured, flow)

    def _cut(self, measured: Measurements, cut: Cut, threshold: float) -> Finding:
        row, source = cut.row, source_of(measured, cut.row.layer)
        gradient = row.output_gradient or 0.0
        return self.finding(
            f"{label(row.layer)}: the gradient dies here: |dL/d(output)| is {number(gradient)}, "
            f"|dL/d(input)| {_passed(cut, threshold)}; "
            f"{counted(len(cut.starving), 'trainable layer')} up to it get none "
            f"({listed(cut.starving)}). Make it differentiable{at(source)}",
            f"saldiag gradients …  # same options; |dL/dx| before and after {label(row.layer)}",
            layers=(row.layer,),
            evidence={
                "output_gradient": gradient,
                "input_gradient": row.input_gradient,
                "starving_layers": cut.starving,
                "layers_fed_around_it": cut.around,
                "threshold": threshold,
            },
            source=source,
            severity="warning" if cut.around else "error",
        )

    def _no_gradient_at_all(self, measured: Measurements, flow: GradientFlow) -> Finding:
        wiring = measured.get(Wiring)
        loss = wiring.loss if wiring is not None else "the loss"
        starving = tuple(dict.fromkeys(variable.layer for variable in flow.variables))
        return self.finding(
            f"{label(loss)}: gives no gradient to any output (exactly 0, or no path; threshold 0); "
            f"{counted(len(starving), 'trainable layer')} get none ({listed(starving)}). "
            "Use a loss that is differentiable where the predictions are",
            'model.compile(loss="mean_squared_error")  # or another differentiable loss',
            evidence={"output_gradient": 0.0, "starving_layers": starving, "threshold": 0.0},
        )

    def _by_history(
        self, measured: Measurements, history: GradientHistory | None
    ) -> Iterable[Finding]:
        if history is None or not len(history.steps):
            raise CannotJudge(measured.reason(GradientFlow))
        fed = np.any(np.nan_to_num(history.norm, nan=0.0) != 0, axis=0)
        reached = {v.layer for v, some in zip(history.variables, fed, strict=True) if some}
        layers = dict.fromkeys(variable.layer for variable in history.variables)
        starving = tuple(layer for layer in layers if layer not in reached)
        if not starving:
            return
        source = source_of(measured, starving[-1])
        yield self.finding(
            f"{counted(len(starving), 'trainable layer')} get a gradient of exactly 0, or none, in "
            f"all {counted(len(history.steps), 'recorded step')} (threshold 0): "
            f"{listed(starving)}. Look for where it dies{at(source)}",
            "saldiag gradients …  # same options",
            layers=starving,
            evidence={
                "steps": len(history.steps), "starving_layers": starving, "threshold": 0.0,
            },
            source=source,
            confidence=0.9,
        )  # fmt: skip


def _passed(cut: Cut, threshold: float) -> str:
    into = cut.row.input_gradient
    if into is None:
        return "does not exist: no path (threshold 0)"
    what = "exactly 0" if into == 0 else f"{number(into)}, which is rounding"
    return f"is {what} (threshold {number(threshold)} of it)"


def _loss_gives_nothing(flow: GradientFlow) -> bool:
    reached = [row for row in flow.rows if row.skipped is None and row.output_gradient]
    nothing = not reached and not any(variable.norm for variable in flow.variables)
    return bool(nothing and flow.variables and np.isfinite(flow.loss) and flow.loss != 0)
