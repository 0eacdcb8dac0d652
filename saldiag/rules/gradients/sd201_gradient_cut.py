"""SD201: a layer passes no gradient on, and no layer before it learns."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds, source_of
from saldiag.core.measurement import GradientFlow, GradientHistory, Measurements, Wiring
from saldiag.core.wording import at_line, counted, label, listed, number
from saldiag.rules.shared.gradient_cut import LIMITS, Cut, cuts


class GradientCut(Rule):
    """A layer gets a gradient but passes none on to the trainable layers before it.

    ## What it does
    Compares |dL/d(output)| and |dL/d(input)| of every layer call. A layer is reported if the first
    is above 0, the second is 0 up to rounding or does not exist, and no other path from the loss
    reaches a trainable layer before it. Not reported are a detached branch whose layers learn
    through another path, a frozen encoder, and a zero that disappears after the layer's own first
    step (weights that start at 0, as in residual branches). The finding is a warning if trainable
    layers beside the cut get a gradient through another path, as the values of an attention layer
    with a single key do. Where the gradient flow was not measured, the gradient history shows which
    layers get no gradient.

    ## Why is this bad
    No optimizer, learning rate or loss scale restores a gradient of 0. Everything before the cut
    keeps its initial weights.

    ## Example
    ```python
    x = keras.ops.round(keras.layers.Dense(64, activation="sigmoid")(x))
    ```

    ## Use instead
    ```python
    x = keras.layers.Dense(64, activation="sigmoid")(x)
    ```

    ## Threshold
    - `rounding` = 1e-6: |dL/d(input)| as a share of |dL/d(output)| that counts as 0, above the
      rounding of float32, 2^-24 = 6e-8 (IEEE 754, 2019), and what a softmax over one channel
      leaves.
    - `lifted` = 0.001: gradient norm of the layer's own weights, as a share of |dL/d(output)|,
      above which its next step ends the zero.
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
            yield from self._findings_of_history(measured, history)
            return
        found = cuts(flow, measured.get(Wiring), history, limits)
        for cut in found:
            yield self._finding_of_cut(measured, cut, limits["rounding"])
        if not found and _loss_has_no_gradient(flow):
            yield self._finding_of_loss(measured, flow)

    def _finding_of_cut(self, measured: Measurements, cut: Cut, threshold: float) -> Finding:
        row, source = cut.row, source_of(measured, cut.row.layer)
        gradient = row.output_gradient or 0.0
        gets = "gets" if len(cut.starving) == 1 else "get"
        return self.finding(
            f"{label(row.layer)}: passes no gradient on: |dL/d(output)| is {number(gradient)}, "
            f"|dL/d(input)| {_input_gradient_text(cut, threshold)}; "
            f"{counted(len(cut.starving), 'trainable layer')} up to it {gets} none "
            f"({listed(cut.starving)}). Make it differentiable{at_line(source)}",
            f"Replace {label(row.layer)} with a differentiable layer or operation",
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

    def _finding_of_loss(self, measured: Measurements, flow: GradientFlow) -> Finding:
        wiring = measured.get(Wiring)
        loss = wiring.loss if wiring is not None else "the loss"
        starving = tuple(dict.fromkeys(variable.layer for variable in flow.variables))
        gets = "gets" if len(starving) == 1 else "get"
        return self.finding(
            f"{label(loss)}: gives no gradient to any output (exactly 0, or no path; threshold 0); "
            f"{counted(len(starving), 'trainable layer')} {gets} none ({listed(starving)}). "
            "Use a loss that is differentiable with respect to the predictions",
            'model.compile(loss="mean_squared_error")  # or another differentiable loss',
            evidence={"output_gradient": 0.0, "starving_layers": starving, "threshold": 0.0},
        )

    def _findings_of_history(
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
        gets = "gets" if len(starving) == 1 else "get"
        yield self.finding(
            f"{listed(starving)}: {counted(len(starving), 'trainable layer')} {gets} no gradient, "
            f"or exactly 0, in {counted(len(history.steps), 'recorded step')} (threshold 0). Find "
            f"the operation that blocks it{at_line(source)}",
            f"Replace the operation after {label(starving[-1])} that has no gradient, such as "
            "argmax, round or stop_gradient",
            layers=starving,
            evidence={
                "steps": len(history.steps),
                "starving_layers": starving,
                "threshold": 0.0,
            },
            source=source,
            confidence=0.9,
        )


def _input_gradient_text(cut: Cut, threshold: float) -> str:
    into = cut.row.input_gradient
    if into is None:
        return "does not exist: no path (threshold 0)"
    value = "exactly 0" if into == 0 else f"{number(into)}, which is rounding"
    return f"is {value} (threshold {number(threshold)} of it)"


def _loss_has_no_gradient(flow: GradientFlow) -> bool:
    reached = [row for row in flow.rows if row.skipped is None and row.output_gradient]
    nothing = not reached and not any(variable.norm for variable in flow.variables)
    return bool(nothing and flow.variables and np.isfinite(flow.loss) and flow.loss != 0)
