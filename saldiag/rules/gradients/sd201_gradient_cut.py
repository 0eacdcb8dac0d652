"""SD201: the gradient dies in one layer, and nothing before it learns."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from saldiag.core.finding import Finding
from saldiag.core.measurement import (
    FlowRow,
    GradientFlow,
    GradientHistory,
    Measurements,
    Wiring,
)
from saldiag.core.rule import CannotJudge, Rule, Thresholds, source_of
from saldiag.rules.network import Network
from saldiag.rules.text import at, counted, label, listed, number


class GradientCut(Rule):
    """A layer gets a gradient and passes none on, and trainable layers before it starve.

    ## What it does
    Compares |dL/d(output)| and |dL/d(input)| of every layer call. Where the first is above 0 and
    the second is exactly 0, or no path exists at all, while every variable of some trainable layer
    upstream has no gradient, that layer is named. A detached branch whose layers learn by another
    way, a frozen encoder, and a zero that the layer's own first step will lift (weights that start
    at 0, as in residual branches) are no cuts. Without the flow, the history of gradients tells
    which layers starve.

    ## Why is this bad
    No optimizer, learning rate or loss scale brings back a gradient that is exactly 0: everything
    before the cut stays as it was initialised.

    ## Example
    ```python
    x = keras.ops.round(keras.layers.Dense(64, activation="sigmoid")(x))
    ```

    ## Use instead
    ```python
    x = keras.layers.Dense(64, activation="sigmoid")(x)
    ```

    ## Threshold
    None, it is exact: a gradient of 0.0, or none (Rumelhart, Hinton & Williams, Learning
    representations by back-propagating errors, 1986: the chain rule is a product).
    """

    code = "SD201"
    name = "gradient-cut"
    severity = "error"
    requires = ()
    explains = {"SD402": "upstream", "SD801": "anywhere"}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        flow = measured.get(GradientFlow)
        if flow is None:
            yield from self._by_history(measured)
            return
        starving = _starving(flow, measured.get(GradientHistory))
        if not starving:
            return
        cuts = [
            (row, starved)
            for row in flow.rows
            if (starved := _starved(row, flow, measured, starving))
        ]
        for row, starved in cuts:
            yield self._cut(measured, row, starved)
        if not cuts and _loss_gives_nothing(flow):
            yield self._no_gradient_at_all(measured, starving)

    def _cut(self, measured: Measurements, row: FlowRow, starved: list[str]) -> Finding:
        source = source_of(measured, row.layer)
        passed = "exactly 0" if row.input_gradient == 0 else "cut off (no path to the loss)"
        gradient = row.output_gradient or 0.0
        return self.finding(
            f"{label(row.layer)}: the gradient dies here: |dL/d(output)| is {number(gradient)}, "
            f"|dL/d(input)| is {passed}; {counted(len(starved), 'trainable layer')} up to it get "
            f"none ({listed(starved)}). Make it differentiable{at(source)}",
            f"saldiag gradients  # |dL/dx| before and after {label(row.layer)}",
            layers=(row.layer,),
            evidence={
                "output_gradient": gradient,
                "input_gradient": row.input_gradient,
                "starving_layers": starved,
            },
            source=source,
        )

    def _no_gradient_at_all(self, measured: Measurements, starving: list[str]) -> Finding:
        wiring = measured.get(Wiring)
        loss = wiring.loss if wiring is not None else "the loss"
        return self.finding(
            f"{label(loss)}: gives no gradient to any output (exactly 0 or no path); "
            f"{counted(len(starving), 'trainable layer')} get none ({listed(starving)}). "
            "Use a loss that is differentiable where the predictions are",
            'model.compile(loss="mean_squared_error")  # or another differentiable loss',
            evidence={"output_gradient": 0.0, "starving_layers": starving},
        )

    def _by_history(self, measured: Measurements) -> Iterable[Finding]:
        history = measured.get(GradientHistory)
        if history is None or not len(history.steps):
            raise CannotJudge(measured.reason(GradientFlow))
        fed = _fed(history)
        layers = dict.fromkeys(variable.layer for variable in history.variables)
        starving = [layer for layer in layers if layer not in fed]
        if not starving:
            return
        source = source_of(measured, starving[-1])
        yield self.finding(
            f"{counted(len(starving), 'trainable layer')} get a gradient of exactly 0, or none, in "
            f"all {counted(len(history.steps), 'recorded step')} ({listed(starving)})"
            f". Look for where it dies{at(source)}",
            "saldiag gradients",
            layers=starving,
            evidence={"steps": len(history.steps), "starving_layers": starving},
            source=source,
            confidence=0.9,
        )


def _by_layer(flow: GradientFlow) -> dict[str, list[float | None]]:
    found: dict[str, list[float | None]] = defaultdict(list)
    for row in flow.variables:
        found[row.layer].append(row.norm)
    return found


def _starving(flow: GradientFlow, history: GradientHistory | None) -> list[str]:
    """Trainable layers that the loss of the data does not reach.

    A layer's output tells more than its variables, which a penalty may feed as well; for a layer
    inside a loop, whose output could not be measured, the variables have to do.
    """
    outputs: dict[str, list[float | None]] = defaultdict(list)
    for row in flow.rows:
        if row.leaf and row.skipped is None:
            outputs[row.layer].append(row.output_gradient)
    fed = _fed(history) if history is not None else frozenset()
    return [
        layer
        for layer, norms in _by_layer(flow).items()
        if (not any(norms) and layer not in fed)
        or (any(norms) and layer in outputs and not any(outputs[layer]))
    ]


def _fed(history: GradientHistory) -> frozenset[str]:
    """Layers with a gradient above 0 at any recorded step."""
    some = np.any(np.nan_to_num(history.norm, nan=0.0) != 0, axis=0)
    return frozenset(
        variable.layer for variable, fed in zip(history.variables, some, strict=True) if fed
    )


def _starved(
    row: FlowRow, flow: GradientFlow, measured: Measurements, starving: list[str]
) -> list[str]:
    """The starving layers up to a row where the gradient dies; empty where it does not."""
    dies = row.leaf and row.differentiable_input and row.skipped is None
    if not dies or not row.output_gradient or row.input_gradient:
        return []
    if row.input_gradient is not None and any(_by_layer(flow).get(row.layer, ())):
        return []  # its own first step lifts the zero
    upstream = _upstream(row, flow, measured)
    return [layer for layer in starving if layer in upstream]


def _upstream(row: FlowRow, flow: GradientFlow, measured: Measurements) -> set[str]:
    """Layers that feed a row, by the wiring; without it, all that ran before."""
    wiring = measured.get(Wiring)
    if wiring is None:
        paths = [other.path for other in flow.rows]
        return {other.layer for other in flow.rows[: paths.index(row.path) + 1]}
    network = Network(wiring)
    return {network.leaves[path].layer for path in network.upstream([row.path])}


def _loss_gives_nothing(flow: GradientFlow) -> bool:
    reached = [row for row in flow.rows if row.skipped is None and row.output_gradient]
    return not reached and bool(flow.rows) and np.isfinite(flow.loss) and flow.loss != 0
