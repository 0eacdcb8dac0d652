"""SD502: float16 gradients without loss scaling."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds
from saldiag.core.measurement import DtypeTrace, Measurements, Wiring
from saldiag.rules.shared.wording import counted, label


class Float16WithoutLossScaling(Rule):
    """Layers compute in float16, and the optimizer does not scale the loss.

    ## What it does
    Looks whether layers with weights compute in float16 while the optimizer does no loss scaling.
    (bfloat16 has float32's range and needs none. ``compile`` adds it by itself under the global
    policy mixed_float16, not for single layers set to float16, and not in a loop of one's own.)

    ## Why is this bad
    Gradients below 6e-8 become exactly 0 in float16, and those of deep layers are.

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
    None, it is exact (Micikevicius et al., Mixed Precision Training, 2018, section 3.2: in one of
    their networks 31 % of the gradients vanish without it).
    """

    code = "SD502"
    name = "float16-without-loss-scaling"
    severity = "warning"
    requires = (Wiring, DtypeTrace)
    explains = {
        "SD201": "anywhere", "SD202": "anywhere", "SD204": "anywhere", "SD206": "anywhere",
        "SD801": "anywhere",
    }  # fmt: skip

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        wiring, trace = measured.need(Wiring), measured.need(DtypeTrace)
        if not wiring.optimizer:
            raise CannotJudge("the model is not compiled: it has no optimizer")
        rows = [row for row in trace.rows if row.leaf and row.parameters]
        half = tuple(dict.fromkeys(row.layer for row in rows if row.compute == "float16"))
        if not half or wiring.loss_scaled or not wiring.trainable_parameters:
            return
        yield self.finding(
            f"{counted(len(half), 'layer')} with weights compute in float16 (policy "
            f"{label(trace.policy)}), and {label(wiring.optimizer)} does not scale the loss. "
            "Wrap it in a LossScaleOptimizer",
            "optimizer = keras.optimizers.LossScaleOptimizer(optimizer)",
            layers=half,
            evidence={"policy": trace.policy, "optimizer": wiring.optimizer, "layers": len(half)},
        )
