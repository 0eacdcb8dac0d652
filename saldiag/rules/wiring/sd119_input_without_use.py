"""SD119: one of the model's inputs affects nothing."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds
from saldiag.core.measurement import Measurements, Wiring
from saldiag.core.wording import counted, label, listed


class InputWithoutUse(Rule):
    """Neither the outputs nor the loss depend on one of the model's inputs.

    ## What it does
    Follows the traced graph back from the outputs and the loss, and reports the inputs that it
    doesn't reach. The finding is a warning in a functional model, which declares its inputs. It is
    an info in any other model, whose inputs are whatever the data hold (numbers of items, lengths),
    and for an input that is passed to a layer, which can use only its shape. Models with their own
    training step or loss are not judged.

    ## Why is this bad
    Keras builds such a model without a warning, and leaves out the layers after that input. The
    model ignores the information in the input, although it seems to use it.

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
    None, the check is exact. Data flow analysis treats a definition without a use as a sign of a
    fault (Fosdick & Osterweil, Data Flow Analysis in Software Reliability, 1976).
    """

    code = "SD119"
    name = "input-without-use"
    severity = "warning"
    requires = (Wiring,)
    explains = {"SD801": "anywhere", "SD803": "anywhere"}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        wiring = measured.need(Wiring)
        if wiring.unused is None:
            raise CannotJudge("there was no loss to trace back from")
        if not wiring.unused:
            return
        if wiring.own_training:
            raise CannotJudge("the model's own training step can use any input")
        one = len(wiring.unused) == 1
        them = "it" if one else "them"
        yield self.finding(
            f"{listed(wiring.unused)}: {counted(len(wiring.unused), 'input')} that "
            f"{'affects' if one else 'affect'} neither the outputs nor the loss. Use or remove "
            f"{them}",
            f"x = keras.layers.Concatenate()([x, {label(wiring.unused[0])}])",
            evidence={"unused": list(wiring.unused)},
            severity="warning"
            if wiring.declared and set(wiring.unused) - set(wiring.handed)
            else "info",
        )
