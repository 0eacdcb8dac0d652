"""SD401: the model has weights, but none of them is trainable."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds
from saldiag.core.measurement import Measurements, Wiring
from saldiag.core.wording import label


class NothingTrainable(Rule):
    """No variable of the model is trainable.

    ## What it does
    Counts the model's trainable parameters.

    ## Why is this bad
    ``fit`` runs and reports a loss, but changes nothing.

    ## Example
    ```python
    model.trainable = False
    model.compile(loss="mse")
    ```

    ## Use instead
    ```python
    model.trainable = True
    model.compile(loss="mse")  # again: compile() fixes which variables are trained
    ```

    ## Threshold
    None; the check is exact (Keras' guide on transfer learning and fine-tuning, 2023: setting
    ``trainable`` on a model also sets it on every layer inside).
    """

    code = "SD401"
    name = "nothing-trainable"
    severity = "error"
    requires = (Wiring,)
    explains = {"SD201": "anywhere", "SD402": "anywhere", "SD403": "anywhere", "SD801": "anywhere"}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        wiring = measured.need(Wiring)
        if wiring.trainable_parameters or not wiring.parameters:
            return
        yield self.finding(
            f"{label(wiring.model)}: 0 of {wiring.parameters:,} parameters are trainable. "
            "Set model.trainable = True and compile again",
            "model.trainable = True",
            evidence={"parameters": wiring.parameters, "trainable_parameters": 0},
        )
