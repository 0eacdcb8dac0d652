"""SD115: an operation that has no gradient stands on the only way back."""

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
from saldiag.rules.shared.wording import at, counted, label, listed

IN_PLACE = {
    "ArgMax": "the softmax itself: keras.ops.softmax(x)",
    "ArgMin": "the softmax itself: keras.ops.softmax(-x)",
    "StopGradient": "x  # without keras.ops.stop_gradient",
    "PyFunc": "operations of keras.ops in place of the numpy function",
    "cast to integers": "x  # in its own dtype",
    "Sign": "keras.ops.tanh(x)",
}
COMPARISONS = frozenset({"Equal", "Greater", "GreaterEqual", "Less", "LessEqual", "NotEqual"})


class OperationWithoutGradient(Rule):
    """An operation that no gradient passes stands on the only way from the loss to a layer.

    ## What it does
    Walks from the loss back through all that it is computed from. Where the walk ends at argmax,
    round, sign, a comparison, a cast to integers, ``stop_gradient`` or a function of numpy, and a
    trainable layer before it can be reached in no other way, the operation is named. Estimators
    that hand the gradient round it (``x + stop_gradient(q - x)``, gradients of the user's own),
    masks of what is used as well, targets behind ``stop_gradient``, frozen layers, and layers that
    got a gradient at any recorded step are left alone.

    ## Why is this bad
    Such an operation has a derivative of 0 or none. Keras trains the layers behind it and leaves
    those before it at their random start, mostly without a word.

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
    None, it is exact: the graph holds another way or it does not. Bengio, Leonard & Courville
    (Estimating or Propagating Gradients Through Stochastic Neurons, 2013) say what to do where the
    hard decision is meant.
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
            raise CannotJudge("there was no loss to look back from")
        if wiring.own_training and wiring.blocked and (history is None or not len(history.steps)):
            raise CannotJudge("the model trains by code of its own, and no step of it was recorded")
        fed = _fed(measured)
        for blocked in wiring.blocked:
            before = tuple(layer for layer in blocked.before if layer not in fed)
            target = blocked.op == "StopGradient" and not blocked.behind and bool(fed)
            if before and not target:
                yield self._blocked(measured, blocked, before)

    def _blocked(
        self, measured: Measurements, blocked: BlockedOperation, before: tuple[str, ...]
    ) -> Finding:
        place = blocked.layer or blocked.behind or before[-1]
        source = source_of(measured, place) or source_of(measured, before[-1])
        return self.finding(
            f"{_where(blocked)}: {blocked.op} passes no gradient, and no other way leads from the "
            f"loss to {counted(len(before), 'trainable layer')} before it ({listed(before)}): "
            f"|dL/dw| there is exactly 0. {_instead(blocked.op)}{at(source)}",
            IN_PLACE.get(blocked.op, "x + keras.ops.stop_gradient(hard(x) - x)"),
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


def _fed(measured: Measurements) -> set[str]:
    """Layers with a variable that had a gradient, in the flow or at a recorded step."""
    flow, history = measured.get(GradientFlow), measured.get(GradientHistory)
    fed = {variable.layer for variable in flow.variables if variable.norm} if flow else set()
    if history is not None and len(history.steps):
        some = np.any(np.nan_to_num(history.norm, nan=0.0) != 0, axis=0)
        fed |= {v.layer for v, has in zip(history.variables, some, strict=True) if has}
    return fed


def _where(blocked: BlockedOperation) -> str:
    if blocked.layer:
        return label(blocked.layer)
    return f"before {label(blocked.behind)}" if blocked.behind else "between output and loss"


def _instead(operation: str) -> str:
    if operation == "StopGradient":
        return "Take stop_gradient out, or freeze those layers"
    if operation in COMPARISONS:
        return "Use a sigmoid in place of the comparison, or a straight-through estimator"
    return "Use a smooth function in its place, or a straight-through estimator"
