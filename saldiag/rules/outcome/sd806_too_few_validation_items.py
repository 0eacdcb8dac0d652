"""SD806: the uncertainty of val_loss is larger than its deviation from the loss."""

from __future__ import annotations

import math
from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds
from saldiag.core.measurement import Measurements, TrainingHistory, ValidationCheck
from saldiag.core.wording import counted, number
from saldiag.rules.verdicts.validation import Checked, course_in


class TooFewValidationItems(Rule):
    """There are too few validation samples to decide whether val_loss follows the loss.

    ## What it does
    If `val_loss` does not follow the loss, computes the error of each validation sample. If the 95
    % interval of their mean is wider than the distance between `val_loss` and the loss, the
    difference can be chance.

    ## Why is this bad
    Early stopping, checkpoints and comparisons of runs then depend on a handful of samples.

    ## Example
    ```python
    model.fit(x[:990], y[:990], validation_data=(x[990:], y[990:]))  # 10 samples
    ```

    ## Use instead
    ```python
    model.fit(x[:800], y[:800], validation_data=(x[800:], y[800:]))
    ```

    ## Threshold
    - `deviations` = 1.96: half-width of the interval in standard errors of the mean, the 95 %
      interval of a normal distribution (Neyman, Outline of a Theory of Statistical Estimation,
      1937).
    """

    code = "SD806"
    name = "too-few-validation-items"
    severity = "info"
    requires = (ValidationCheck, TrainingHistory)
    compares_losses = True
    thresholds = {"deviations": 1.96}
    explains = {"SD712": "anywhere", "SD807": "anywhere"}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        checked, course = Checked.of(measured), course_in(measured)
        if course is None or not course.strays or checked.misled:
            return
        half = checked.undecided(course, limits["deviations"])
        if not math.isfinite(half):
            return
        stray = abs(float(course.val_loss[-1] - course.loss[-1]))
        yield self.finding(
            f"{course.described}, but the 95 % interval of val_loss over "
            f"{counted(checked.validated, 'validation sample')} is ±{number(half)}, wider than its "
            f"distance from the loss ({number(stray)}, threshold {number(half)}): too few samples "
            "to decide",
            "Validate on more samples, or use cross-validation",
            evidence={"half_width": half, "distance": stray, "threshold": half},
            confidence=0.8,
        )
