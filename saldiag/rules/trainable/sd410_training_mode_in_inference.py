"""SD410: dropout, noise, augmentation or BatchNorm work in inference as they do in training."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds, source_of
from saldiag.core.measurement import Measurements, ValidationCheck
from saldiag.rules.shared.wording import listed, number, percent
from saldiag.rules.verdicts.validation import Checked


class TrainingModeInInference(Rule):
    """A layer that is meant for training alone is active while the model validates.

    ## What it does
    Predicts some validation items twice in inference mode, and once more together with other items.
    Predictions that differ come from random draws (dropout, noise, augmentation) or from BatchNorm
    that normalises with the batch; the graph of the inference pass names the layers. It is a
    warning where `val_loss` does not follow the loss, or where the mean of eight predictions is
    clearly better than one of them, otherwise a note: Monte-Carlo dropout is active in inference on
    purpose (Gal & Ghahramani, Dropout as a Bayesian Approximation, 2016).

    ## Why is this bad
    `val_loss` is worse than the model is, and moves by chance. The deployed model gives another
    answer each time.

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
    - `cost` = 0.1: error of one prediction less that of the mean of eight, as a share of the error
      of the best prediction that ignores the input, from which on it is a warning; our own choice.
    - `difference` = 0.01: mean difference of two predictions of the same items, as a share of the
      standard deviation of the predictions. Rounding is below 1e-4; our own choice. Dropout draws
      another mask in each pass (Srivastava et al., Dropout, 2014).
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
        by = (
            f"differ by {percent(check.repeat_difference)} of their standard deviation from one "
            f"pass to the next"
            if random
            else f"differ by {percent(check.company_difference)} of their standard deviation with "
            "the other items of the batch"
        )
        cost = (check.single - check.averaged) / abs(checked.reference)
        if cost > 0:
            by += (
                f"; the error is {number(check.single)}, and {number(check.averaged)} for the mean "
                f"of several passes"
            )
        where = f": {listed(check.active)} in training mode" if check.active else ""
        yield self.finding(
            f"predictions in inference mode {by} (threshold {percent(limit)}){where}",
            "Remove training=True from the call of the layer",
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
