"""SD410: dropout, noise, augmentation or BatchNorm runs in training mode during inference."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds, source_of
from saldiag.core.measurement import Measurements, ValidationCheck
from saldiag.core.wording import listed, number, percent
from saldiag.rules.verdicts.validation import Checked


class TrainingModeInInference(Rule):
    """A layer that should act only in training is active while the model validates.

    ## What it does
    Predicts some validation items twice in inference mode, and once more in batches with other
    items. Predictions that differ come from random draws (dropout, noise, augmentation) or from
    BatchNorm with batch statistics; the graph of the inference pass names the layers. The finding
    is a warning if `val_loss` does not follow the loss, or if the mean of eight predictions is
    clearly better than a single one, and a note otherwise: Monte-Carlo dropout is active in
    inference on purpose (Gal & Ghahramani, Dropout as a Bayesian Approximation, 2016).

    ## Why is this bad
    `val_loss` is worse than the model and fluctuates at random. The deployed model gives a
    different answer each time.

    ## Example
    ```python
    def call(self, x, training=None):  # in a functional model, fit overrides training=True
        return self.head(self.dropout(x, training=True))
    ```

    ## Use instead
    ```python
    def call(self, x, training=None):
        return self.head(self.dropout(x, training=training))
    ```

    ## Threshold
    - `cost` = 0.1: error of a single prediction minus that of the mean of eight, as a share of the
      baseline error (of the best prediction that ignores the input); above it the finding is a
      warning. Our own choice.
    - `difference` = 0.01: mean difference between two predictions of the same items, as a share of
      the predictions' standard deviation. Rounding stays below 1e-4; our own choice. Dropout draws
      a new mask in each pass (Srivastava et al., Dropout, 2014).
    """

    code = "SD410"
    name = "training-mode-in-inference"
    severity = "warning"
    requires = (ValidationCheck,)
    thresholds = {"difference": 0.01, "cost": 0.1}
    explains = {"SD712": "anywhere", "SD806": "anywhere", "SD807": "anywhere"}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        checked = Checked.of(measured)
        check, limit = checked.check, limits["difference"]
        random = check.repeat_difference > limit
        together = check.company_difference > limit and bool(check.active)
        if not (random or together):
            return
        difference = (
            f"differ by {percent(check.repeat_difference)} of their standard deviation between two "
            f"passes"
            if random
            else f"change by {percent(check.company_difference)} of their standard deviation with "
            "the other items in the batch"
        )
        cost = (check.single - check.averaged) / abs(checked.reference)
        if cost > 0:
            difference += (
                f"; a single pass has an error of {number(check.single)}, the mean of several "
                f"passes {number(check.averaged)}"
            )
        run = "runs" if len(check.active) == 1 else "run"
        where = f": {listed(check.active)} {run} in training mode" if check.active else ""
        yield self.finding(
            f"predictions in inference mode {difference} (threshold {percent(limit)}){where}",
            "Remove training=True from the layer's call",
            layers=check.active,
            evidence={
                "repeat_difference": check.repeat_difference,
                "company_difference": check.company_difference,
                "cost": cost,
                "threshold": limit,
            },
            source=source_of(measured, check.active[0]) if check.active else None,
            severity="warning" if checked.strays or cost > limits["cost"] else "info",
        )
