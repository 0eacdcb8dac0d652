"""SD119: one of the model's inputs leads to nothing."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds
from saldiag.core.measurement import Measurements, Wiring
from saldiag.rules.shared.wording import counted, label, listed


class InputWithoutUse(Rule):
    """Neither an output nor the loss depends on one of the model's inputs.

    ## What it does
    Follows the traced graph back from the outputs and the loss, and names the inputs that it does
    not come to. In a functional model, which has the inputs that it was given, it is a warning; in
    another one, which takes what the data hold (numbers of items, lengths), a note, and so it is
    where a layer is given the input: it can take its shape alone. Models with a training step or a
    loss of their own are left alone.

    ## Why is this bad
    Keras builds such a model without a word, and leaves the layers behind that input out: what the
    input could tell is not used, and by its drawing the model uses it.

    ## Example
    ```python
    left, right = tower(a), other_tower(b)
    outputs = head(keras.layers.Concatenate()([left, left]))
    model = keras.Model([a, b], outputs)
    ```

    ## Use instead
    ```python
    left, right = tower(a), other_tower(b)
    outputs = head(keras.layers.Concatenate()([left, right]))
    model = keras.Model([a, b], outputs)
    ```

    ## Threshold
    None, it is exact. That a definition without a use is a sign of a fault is as old as data flow
    analysis (Fosdick & Osterweil, Data Flow Analysis in Software Reliability, 1976).
    """

    code = "SD119"
    name = "input-without-use"
    severity = "warning"
    requires = (Wiring,)
    explains = {"SD801": "anywhere", "SD803": "anywhere"}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        wiring = measured.need(Wiring)
        if wiring.unused is None:
            raise CannotJudge("there was no loss to look from")
        if not wiring.unused:
            return
        if wiring.own_training:
            raise CannotJudge("the model's own training step can use inputs as it likes")
        yield self.finding(
            f"{counted(len(wiring.unused), 'input')} that no output is made from, nor the loss: "
            f"{listed(wiring.unused)}. Use what it gives, or leave it out",
            f"keras.layers.Concatenate()([…, {label(wiring.unused[0])}])  # and hand it on",
            evidence={"unused": list(wiring.unused)},
            severity="warning"
            if wiring.declared and set(wiring.unused) - set(wiring.handed)
            else "info",
        )
