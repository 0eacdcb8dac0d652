"""SD406: variables became trainable after the optimizer was built."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds, compile_source
from saldiag.core.measurement import Measurements, TrainableStatus
from saldiag.core.wording import at_line, counted, listed


class UnfrozenAfterCompile(Rule):
    """The optimizer does not know some trainable variables, and training steps fail.

    ## What it does
    Compares the variables that the model lists as trainable with those that the optimizer was built
    for. Reports only models in which a training step fails; variables that a custom training loop
    leaves out on purpose (a target network) are ignored.

    ## Why is this bad
    The optimizer keeps its moments for the variables of its first step. When more variables are
    unfrozen later, the next ``fit`` fails with *Unknown variable*.

    ## Example
    ```python
    base.trainable = False
    model.compile("adam", "mse")
    model.fit(images, labels)
    base.trainable = True
    model.fit(images, labels)
    ```

    ## Use instead
    ```python
    base.trainable = True
    model.compile(keras.optimizers.Adam(1e-5), "mse")  # again
    model.fit(images, labels)
    ```

    ## Threshold
    None; the check is exact (Keras' guide on transfer learning and fine-tuning, 2023: call
    ``compile`` again after changing ``trainable``).
    """

    code = "SD406"
    name = "unfrozen-after-compile"
    severity = "error"
    requires = (TrainableStatus,)
    explains = {"SD402": "same_layer", "SD404": "same_layer", "SD801": "anywhere"}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        rows = [row for row in measured.need(TrainableStatus).rows if row.in_model]
        unknown = [row for row in rows if row.in_optimizer is False and row.has_gradient is None]
        if not unknown or not any(row.in_optimizer for row in rows):
            return  # none is known: the optimizer was built for another model (SD407)
        layers = tuple(dict.fromkeys(row.layer for row in unknown))
        source = compile_source(measured, layers[0])
        they_were = "it was" if len(layers) == 1 else "they were"
        yield self.finding(
            f"{listed(layers)}: the optimizer was built before {they_were} unfrozen and doesn't "
            f"know {len(unknown)} of {counted(len(rows), 'trainable variable')}; training steps "
            f"fail. Compile again{at_line(source)}",
            "model.compile(keras.optimizers.Adam(1e-5), loss)  # after changing trainable",
            layers=layers,
            evidence={
                "unknown": [row.path for row in unknown],
                "parameters": sum(row.size for row in unknown),
                "trainable_variables": len(rows),
            },
            source=source,
        )
