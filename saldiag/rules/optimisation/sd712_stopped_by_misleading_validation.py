"""SD712: a callback ended the training, or chose weights, by a misleading validation metric."""

from __future__ import annotations

import math
from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds
from saldiag.core.measurement import Measurements, ValidationCheck
from saldiag.core.wording import counted, number
from saldiag.rules.verdicts.validation import Checked


class StoppedByMisleadingValidation(Rule):
    """EarlyStopping or ModelCheckpoint acted on a validation metric that misrepresents the model.

    ## What it does
    If the validation error is wrong for a proven reason (BatchNorm's statistics, or inputs or
    targets that differ from those in training), names the callbacks that monitored it, the epochs
    at which they stopped the training or kept weights, and the corrected error of the last weights.

    ## Why is this bad
    The training ends while the model still improves, and the weights of a worse epoch are kept.

    ## Example
    ```python
    keras.callbacks.EarlyStopping("val_loss", patience=10, restore_best_weights=True)
    ```

    ## Use instead
    ```python
    keras.callbacks.EarlyStopping("loss", patience=10)  # until the validation is fixed
    ```

    ## Threshold
    - `lost` = 0.1: by how much the error that the callbacks saw is too high, as a share of the
      baseline error (of the best prediction that ignores the input); our own choice. Prechelt
      (Early Stopping - But When?, 1998) discusses when a validation error should end a training.
    """

    code = "SD712"
    name = "stopped-by-misleading-validation"
    severity = "info"
    requires = (ValidationCheck,)
    compares_losses = True
    thresholds = {"lost": 0.1}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        checked = Checked.of(measured)
        acted = [c for c in checked.check.callbacks if c.stopped or c.kept]
        true = checked.true_error
        excess = checked.inference - true
        if not acted or not excess > limits["lost"] * abs(checked.reference):
            return
        actions = "; ".join(
            f"{call.kind}(monitor={call.monitor!r}) "
            + " and ".join(
                filter(
                    None,
                    [
                        f"stopped the training after epoch {call.stopped}" if call.stopped else "",
                        f"kept the weights of epoch {call.kept}" if call.kept else "",
                    ],
                )
            )
            for call in acted
        )
        last = int(checked.check.checked[-1])
        yield self.finding(
            f"{actions}. After {counted(last, 'epoch')} the validation reports an error of "
            f"{number(checked.inference)}, but the corrected error is {number(true)}; the "
            f"difference is {number(excess / abs(checked.reference))} times the baseline error "
            f"(threshold {number(limits['lost'])})",
            "Correct the validation, then train again",
            evidence={
                "shown": checked.inference,
                "true": true,
                "threshold": limits["lost"],
                "stopped": next((c.stopped for c in acted if c.stopped), None),
                "kept": next((c.kept for c in acted if c.kept), None),
            },
            confidence=1.0 if math.isfinite(true) else 0.5,
        )
