"""SD407: the optimizer was built for another model's variables."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds
from saldiag.core.measurement import Measurements, TrainableStatus, Wiring
from saldiag.core.wording import counted, label


class OptimizerOfAnotherModel(Rule):
    """The optimizer knows none of the model's variables, and training steps fail.

    ## What it does
    Compares the variables that the model lists as trainable with those that the optimizer was built
    for. Reports models that share no variable with their optimizer and whose training step fails.

    ## Why is this bad
    An optimizer object belongs to the variables of its first step. Given to a second model, or to a
    newly built copy of the same model (the next fold of a cross-validation), it fails with *Unknown
    variable*.

    ## Example
    ```python
    adam = keras.optimizers.Adam()
    for fold in range(5):
        model = make_model()
        model.compile(adam, "mse")
        model.fit(*folds[fold])
    ```

    ## Use instead
    ```python
    for fold in range(5):
        model = make_model()
        model.compile(keras.optimizers.Adam(), "mse")
        model.fit(*folds[fold])
    ```

    ## Threshold
    None; the check is exact (Keras 3, 2023: ``Optimizer.apply`` rejects variables that it was not
    built for).
    """

    code = "SD407"
    name = "optimizer-of-another-model"
    severity = "error"
    requires = (TrainableStatus,)
    explains = {"SD402": "anywhere", "SD404": "anywhere", "SD801": "anywhere"}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        rows = [row for row in measured.need(TrainableStatus).rows if row.in_model]
        unknown = [row for row in rows if row.in_optimizer is False and row.has_gradient is None]
        if not rows or len(unknown) < len(rows):
            return
        wiring = measured.get(Wiring)
        name = label(wiring.optimizer) if wiring is not None else "the optimizer"
        yield self.finding(
            f"{name} was built for other variables: it knows 0 of "
            f"{counted(len(rows), 'trainable variable')}, and training steps fail. "
            "Create a new optimizer for each model",
            f"model.compile(keras.optimizers.{name if name.isidentifier() else 'Adam'}(), loss)",
            evidence={
                "optimizer": name,
                "trainable_variables": len(rows),
                "parameters": sum(row.size for row in rows),
            },
        )
