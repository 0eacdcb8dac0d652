"""SD407: the optimizer was built for the variables of another model."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds
from saldiag.core.measurement import Measurements, TrainableStatus, Wiring
from saldiag.rules.shared.wording import counted, label


class OptimizerOfAnotherModel(Rule):
    """The optimizer knows none of the model's variables, and no training step can be taken.

    ## What it does
    Compares the variables that the model lists as trainable with those that the optimizer was
    built for. Speaks up where it was built for others altogether, and a training step fails.

    ## Why is this bad
    An optimizer object belongs to the variables of its first step. Given to a second model, or to
    the same model built anew (the next fold of a cross-validation), it ends with *Unknown
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
    None, it is exact (Keras 3, 2023: ``Optimizer.apply`` refuses variables that it was not built
    for).
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
            f"{name} was built for other variables: it knows none of "
            f"{counted(len(rows), 'trainable variable')}, and training steps fail. "
            "Give every model an optimizer of its own",
            f"model.compile(keras.optimizers.{name if name.isidentifier() else 'Adam'}(), loss)",
            evidence={
                "optimizer": name,
                "trainable_variables": len(rows),
                "parameters": sum(row.size for row in rows),
            },
        )
