"""SD712: a callback ended the training, or chose weights, by a val_loss that was misleading."""

from __future__ import annotations

import math
from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds
from saldiag.core.measurement import Measurements, ValidationCheck
from saldiag.rules.shared.wording import counted, number
from saldiag.rules.verdicts.validation import Checked


class StoppedByMisleadingValidation(Rule):
    """EarlyStopping or ModelCheckpoint acted on a validation metric that does not show the model.

    ## What it does
    Where the validation error is wrong for a proven reason (BatchNorm's statistics, inputs or
    targets that differ from those of training), names the callbacks that monitored it, the epochs
    at which they stopped the training or kept weights, and what the last weights are really worth.

    ## Why is this bad
    The training ends while it still gets better, and a worse epoch is kept.

    ## Example
    ```python
    keras.callbacks.EarlyStopping("val_loss", patience=10, restore_best_weights=True)
    ```

    ## Use instead
    ```python
    keras.callbacks.EarlyStopping("loss", patience=10)  # until validation is repaired
    ```

    ## Threshold
    - `lost` = 0.1: share of the error of the best prediction that ignores the input by which the
      error that callbacks saw is too high; our own choice. When a validation error may end a
      training is treated by Prechelt (Early Stopping - But When?, 1998).
    """

    code = "SD712"
    name = "stopped-by-misleading-validation"
    severity = "info"
    requires = (ValidationCheck,)
    thresholds = {"lost": 0.1}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        checked = Checked.of(measured)
        acted = [c for c in checked.check.callbacks if c.stopped or c.kept]
        true = checked.true_error
        wrong = checked.inference - true
        if not acted or not wrong > limits["lost"] * abs(checked.reference):
            return
        told = "; ".join(
            f"{call.kind}(monitor={call.monitor!r}) "
            + " and ".join(
                filter(
                    None,
                    [
                        f"stopped after epoch {call.stopped}" if call.stopped else "",
                        f"kept the weights of epoch {call.kept}" if call.kept else "",
                    ],
                )
            )
            for call in acted
        )
        last = int(checked.check.checked[-1])
        yield self.finding(
            f"{told}. The weights after {counted(last, 'epoch')} show an error of "
            f"{number(checked.inference)} and have one of {number(true)}; the difference is "
            f"{number(wrong / abs(checked.reference))} of the reference (threshold "
            f"{number(limits['lost'])})",
            "Repair the validation, then train again",
            evidence={
                "shown": checked.inference, "true": true, "threshold": limits["lost"],
                "stopped": next((c.stopped for c in acted if c.stopped), None),
                "kept": next((c.kept for c in acted if c.kept), None),
            },
            confidence=1.0 if math.isfinite(true) else 0.5,
        )  # fmt: skip
