"""SD115: an operation without a gradient blocks the only path from the loss."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds, source_of
from saldiag.core.measurement import (
    BlockedOperation,
    GradientFlow,
    GradientHistory,
    Measurements,
    Wiring,
)
from saldiag.core.wording import at_line, counted, label, listed

REPLACEMENTS = {
    "ArgMax": "keras.ops.softmax(x)  # instead of argmax",
    "ArgMin": "keras.ops.softmax(-x)  # instead of argmin",
    "StopGradient": "x  # without keras.ops.stop_gradient",
    "PyFunc": "Replace the numpy function with operations of keras.ops",
    "cast to integers": "x  # without the cast to integers",
    "Sign": "keras.ops.tanh(x)  # instead of sign",
}
"""The fix for each operation; for any other one it is a straight-through estimator."""
COMPARISONS = frozenset({"Equal", "Greater", "GreaterEqual", "Less", "LessEqual", "NotEqual"})


class OperationWithoutGradient(Rule):
    """An operation without a gradient blocks the only path from the loss to a layer.

    ## What it does
    Goes back from the loss through everything that it is computed from. Where that ends at argmax,
    round, sign, a comparison, a cast to integers, ``stop_gradient`` or a numpy function, and no
    other path reaches a trainable layer before it, the operation is reported. Not reported are
    estimators that pass the gradient around it (``x + stop_gradient(q - x)``, custom gradients),
    masks of a tensor that is also used itself, targets behind ``stop_gradient``, frozen layers, and
    layers that got a gradient at any recorded step.

    ## Why is this bad
    Such an operation has a derivative of 0, or none. Keras trains the layers after it and leaves
    those before it at their random start, mostly without a warning.

    ## Example
    ```python
    codes = keras.ops.one_hot(keras.ops.argmax(encoder(x), axis=-1), 16)
    outputs = decoder(codes)
    ```

    ## Use instead
    ```python
    codes = keras.ops.softmax(encoder(x), axis=-1)
    outputs = decoder(codes)
    ```

    ## Threshold
    None, the check is exact: the graph has another path or it has none. For hard decisions that are
    intended, see Bengio, Leonard & Courville, Estimating or Propagating Gradients Through
    Stochastic Neurons, 2013.
    """

    code = "SD115"
    name = "operation-without-gradient"
    severity = "error"
    requires = (Wiring,)
    explains = {
        "SD110": "anywhere",
        "SD201": "anywhere",
        "SD202": "anywhere",
        "SD402": "anywhere",
        "SD801": "anywhere",
        "SD802": "anywhere",
        "SD901": "anywhere",
    }

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        wiring, history = measured.need(Wiring), measured.get(GradientHistory)
        if wiring.blocked is None:
            raise CannotJudge("there was no loss to trace back from")
        if wiring.own_training and wiring.blocked and (history is None or not len(history.steps)):
            raise CannotJudge("the model has its own training step, and no step was recorded")
        fed = _layers_with_gradient(measured)
        for blocked in wiring.blocked:
            before = tuple(layer for layer in blocked.before if layer not in fed)
            target = blocked.op == "StopGradient" and not blocked.behind and bool(fed)
            if before and not target:
                yield self._finding_of_operation(measured, blocked, before)

    def _finding_of_operation(
        self, measured: Measurements, blocked: BlockedOperation, before: tuple[str, ...]
    ) -> Finding:
        place = blocked.layer or blocked.behind or before[-1]
        source = source_of(measured, place) or source_of(measured, before[-1])
        return self.finding(
            f"{_location(blocked)}: {blocked.op} passes no gradient, and no other path leads from "
            f"the loss to {counted(len(before), 'trainable layer')} before it ({listed(before)}): "
            f"|dL/dw| there is exactly 0. {_advice(blocked.op)}{at_line(source)}",
            REPLACEMENTS.get(
                blocked.op,
                "x + keras.ops.stop_gradient(hard(x) - x)  # straight-through estimator",
            ),
            layers=(place, *(layer for layer in before if layer != place)),
            evidence={
                "operation": blocked.op,
                "behind": blocked.behind,
                "starving_layers": before,
                "fed_by_another_way": blocked.fed,
                "gradient": 0.0,
            },
            source=source,
            severity="warning" if blocked.fed else "error",
        )


def _layers_with_gradient(measured: Measurements) -> set[str]:
    """Layers with a variable that had a gradient, in the flow or at a recorded step."""
    flow, history = measured.get(GradientFlow), measured.get(GradientHistory)
    fed = {variable.layer for variable in flow.variables if variable.norm} if flow else set()
    if history is not None and len(history.steps):
        some = np.any(np.nan_to_num(history.norm, nan=0.0) != 0, axis=0)
        fed |= {v.layer for v, has in zip(history.variables, some, strict=True) if has}
    return fed


def _location(blocked: BlockedOperation) -> str:
    if blocked.layer:
        return label(blocked.layer)
    return f"before {label(blocked.behind)}" if blocked.behind else "between output and loss"


def _advice(operation: str) -> str:
    if operation == "StopGradient":
        return "Remove stop_gradient, or freeze those layers"
    if operation in COMPARISONS:
        return "Use a sigmoid instead of the comparison, or a straight-through estimator"
    return "Use a smooth function instead, or a straight-through estimator"
