"""SD502: float16 gradients without loss scaling."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds
from saldiag.core.measurement import DtypeTrace, Measurements, Wiring
from saldiag.core.wording import counted, label


class Float16WithoutLossScaling(Rule):
    """Layers compute in float16, but the optimizer does not scale the loss.

    ## What it does
    Checks whether layers with weights compute in float16 while the optimizer does not scale the
    loss. bfloat16 has the range of float32 and needs no loss scaling. ``compile`` adds it under the
    global policy mixed_float16, but not for single layers set to float16, and not in a custom
    training loop.

    ## Why is this bad
    Gradients below 6e-8 become exactly 0 in float16. In deep layers, gradients are that small.

    ## Example
    ```python
    optimizer = keras.optimizers.Adam()
    optimizer.apply(gradients, model.trainable_variables)  # under mixed_float16
    ```

    ## Use instead
    ```python
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam())
    ```

    ## Threshold
    None: the check is exact (Micikevicius et al., Mixed Precision Training, 2018, section 3.2: in
    one of their networks, 31 % of the gradients vanish without loss scaling).
    """

    code = "SD502"
    name = "float16-without-loss-scaling"
    severity = "warning"
    requires = (Wiring, DtypeTrace)
    explains = {
        "SD201": "anywhere",
        "SD202": "anywhere",
        "SD204": "anywhere",
        "SD206": "anywhere",
        "SD801": "anywhere",
    }

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        wiring, trace = measured.need(Wiring), measured.need(DtypeTrace)
        if not wiring.optimizer:
            raise CannotJudge("the model is not compiled: it has no optimizer")
        rows = [row for row in trace.rows if row.leaf and row.parameters]
        half = tuple(dict.fromkeys(row.layer for row in rows if row.compute == "float16"))
        if not half or wiring.loss_scaled or not wiring.trainable_parameters:
            return
        yield self.finding(
            f"{counted(len(half), 'layer')} with weights "
            f"{'computes' if len(half) == 1 else 'compute'} in float16 (policy "
            f"{label(trace.policy)}), but {label(wiring.optimizer)} does not scale the loss. "
            "Wrap the optimizer in a LossScaleOptimizer",
            "optimizer = keras.optimizers.LossScaleOptimizer(optimizer)",
            layers=half,
            evidence={"policy": trace.policy, "optimizer": wiring.optimizer, "layers": len(half)},
        )
