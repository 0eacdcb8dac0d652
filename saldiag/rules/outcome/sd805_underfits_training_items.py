"""SD805: the model learns neither training nor validation samples."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds
from saldiag.core.measurement import Measurements, TrainingHistory, ValidationCheck
from saldiag.core.wording import counted, number
from saldiag.rules.verdicts.validation import Checked, course_in


class Underfits(Rule):
    """The loss doesn't move on training samples either: validation is not the problem.

    ## What it does
    Reports a training whose loss and `val_loss` both stay near the baseline error (of the best
    prediction that ignores the input) and no longer fall, although many steps were taken.

    ## Why is this bad
    `val_loss` alone suggests a problem with the validation data, but the model has not learned its
    training samples either.

    ## Example
    ```python
    keras.Sequential([keras.layers.Dense(1)])  # y = x1 * x2
    ```

    ## Use instead
    ```python
    keras.Sequential([keras.layers.Dense(64, activation="relu"), keras.layers.Dense(1)])
    ```

    ## Threshold
    - `learned` = 0.95: final loss, as a share of the baseline error, above which nothing was
      learned.
    - `steps` = 200: fewest training steps.
    - `epochs` = 5: fewest epochs.
    - `fall` = 0.02: fall of the loss in the second half of the epochs, as a share of the baseline
      error, above which the model still learns. This and the other thresholds are our own choice.
      Underfitting means that both training and validation errors are high (Goodfellow, Bengio &
      Courville, Deep Learning, 2016, section 5.2).
    """

    code = "SD805"
    name = "underfits-training-items"
    severity = "info"
    requires = (ValidationCheck, TrainingHistory)
    compares_losses = True
    thresholds = {"learned": 0.95, "steps": 200, "epochs": 5, "fall": 0.02}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        checked, course = Checked.of(measured), course_in(measured)
        if course is None or len(course.epochs) < limits["epochs"] or not checked.baseline > 0:
            return
        steps = int(checked.check.steps[-1])
        share = float(course.loss.min()) / checked.baseline
        if steps < limits["steps"] or share < limits["learned"]:
            return
        half = course.loss[len(course.loss) // 2 :]
        if float(half[0] - half[-1]) > limits["fall"] * checked.baseline:
            return
        yield self.finding(
            f"after {counted(steps, 'step')} the loss on training samples is still "
            f"{number(float(course.loss[-1]))}, {number(share)} times the baseline error of the "
            f"best prediction that ignores the input (threshold {number(limits['learned'])}), and "
            f"val_loss is {number(float(course.val_loss[-1]))}: the training samples are not "
            "learned either, so validation is not the problem",
            "Use a larger model, a higher learning rate, or inputs that determine the targets",
            evidence={
                "loss": float(course.loss[-1]),
                "val_loss": float(course.val_loss[-1]),
                "share": share,
                "threshold": limits["learned"],
                "steps": steps,
            },
            confidence=0.7,
        )
