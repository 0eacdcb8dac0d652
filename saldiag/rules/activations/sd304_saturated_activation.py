"""SD304: hidden units at the limits of their activation."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds, source_of
from saldiag.core.measurement import (
    ActivationRow,
    Activations,
    Measurements,
    OverfitHistory,
    Wiring,
)
from saldiag.core.wording import at_line, label, number, percent
from saldiag.rules.shared.graph import Network
from saldiag.rules.verdicts.overfit import verdict_of

BOUNDED_ACTIVATIONS = frozenset({"hard_tanh", "sigmoid", "softsign", "tanh"})
"""Activations with an upper and a lower limit."""
GATED_OPERATIONS = frozenset({"Multiply", "Minimum", "Dot", "op"})
"""Kinds of calls whose inputs can be gates."""


class SaturatedActivation(Rule):
    """Nearly all values of a hidden sigmoid or tanh layer are saturated.

    ## What it does
    Measures the share of a hidden layer's values within 1 % of the limits of its activation, in one
    batch before training. Not judged: output layers, which should become certain, and gates
    (recurrent layers and inputs of a multiplication), which should open and close. A model that
    learns in the overfit test is not reported.

    ## Why is this bad
    At the limits, the derivative of the activation is almost 0. Hardly any gradient passes through
    the layer, and the layers before it do not train.

    ## Example
    ```python
    wide = keras.initializers.RandomNormal(stddev=10.0)
    x = keras.layers.Dense(64, activation="tanh", kernel_initializer=wide)(x)
    ```

    ## Use instead
    ```python
    x = keras.layers.Dense(64, activation="tanh", kernel_initializer="glorot_uniform")(x)
    ```

    ## Threshold
    - `saturated` = 0.9: share of values within 1 % of the limits. Glorot & Bengio (Understanding
      the difficulty of training deep feedforward neural networks, 2010, section 3 and figure 2)
      show a top hidden layer that saturates, and learning that stalls until the layer desaturates.
    """

    code = "SD304"
    name = "saturated-activation"
    severity = "warning"
    requires = (Activations, Wiring)
    thresholds = {"saturated": 0.9}
    explains = {
        "SD201": "anywhere",
        "SD202": "anywhere",
        "SD302": "anywhere",
        "SD402": "upstream",
        "SD801": "anywhere",
    }

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        network = Network(measured.need(Wiring))
        found = [
            row
            for row in measured.need(Activations).rows
            if row.leaf
            and row.activation in BOUNDED_ACTIVATIONS
            and row.saturated_share >= limits["saturated"]
            and _is_hidden_and_no_gate(network, row)
        ]
        if not found or verdict_of(measured.get(OverfitHistory))[0] == "learns":
            return
        first = found[0]
        source = source_of(measured, first.layer)
        more = f", the first of {len(found)} such layers" if len(found) > 1 else ""
        yield self.finding(
            f"{label(first.layer)}: {percent(first.saturated_share)} of its {first.activation} "
            f"values are saturated (threshold {percent(limits['saturated'])}){more}; mean "
            f"{number(first.mean)}. Use a smaller initializer and zero biases{at_line(source)}",
            'kernel_initializer="glorot_uniform", bias_initializer="zeros"',
            layers=tuple(dict.fromkeys(row.layer for row in found)),
            evidence={
                "saturated_share": first.saturated_share,
                "threshold": limits["saturated"],
                "mean": first.mean,
                "std": first.std,
                "layers": len(found),
            },
            source=source,
            confidence=0.9,
        )


def _is_hidden_and_no_gate(network: Network, row: ActivationRow) -> bool:
    """Whether a layer with weights uses the values, and no gated operation does before that."""
    call = network.leaves.get(row.path)
    if call is None or row.path in network.outputs or "recurrent_activation" in call.config:
        return False
    seen, waiting = set(), [row.path]
    while waiting:
        for path in network.consumers(waiting.pop()):
            follower = network.leaves[path]
            if follower.kind in GATED_OPERATIONS:
                return False
            if path not in seen and not follower.parameters:
                waiting.append(path)
            seen.add(path)
    return any(network.leaves[path].parameters for path in seen)
