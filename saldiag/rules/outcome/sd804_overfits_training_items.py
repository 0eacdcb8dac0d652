"""SD804: the model memorised the training samples and is worse on other samples."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds
from saldiag.core.measurement import Measurements, TrainingHistory, ValidationCheck
from saldiag.core.wording import counted, number
from saldiag.rules.verdicts.validation import LIMITS, Checked, course_in


class Overfits(Rule):
    """Predictions improve on training samples, but not on validation samples.

    ## What it does
    If `val_loss` does not follow the loss, compares the errors on training and validation samples
    in the same mode, sample by sample, after other causes were excluded: BatchNorm's statistics,
    inputs or targets that differ, layers that are active in inference. The severity is info, and a
    warning if the validation error was never better than that of a prediction that ignores the
    input.

    ## Why is this bad
    More epochs make it worse: the model learns patterns that hold only for its training samples.

    ## Example
    ```python
    model.fit(x, y, validation_data=held_out, epochs=200)  # 100 samples, a million weights
    ```

    ## Use instead
    ```python
    stop = keras.callbacks.EarlyStopping("val_loss", patience=10, restore_best_weights=True)
    model.fit(x, y, validation_data=held_out, epochs=200, callbacks=[stop])
    ```

    ## Threshold
    - `gap` = 0.1: least difference between the two errors, as a share of the baseline error (of the
      best prediction that ignores the input). The difference must also be significant over the
      samples: 1.96 standard errors, or three for the warning.
    - `never` = 0.98: best validation error, as a share of the same, above which nothing that was
      learned holds for the validation samples. For remedies see Goodfellow, Bengio & Courville
      (Deep Learning, 2016, chapter 7).
    """

    code = "SD804"
    name = "overfits-training-items"
    severity = "info"
    requires = (ValidationCheck, TrainingHistory)
    compares_losses = True
    thresholds = {"gap": 0.1, "never": 0.98}
    explains = {"SD712": "anywhere", "SD806": "anywhere", "SD807": "anywhere"}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        checked, course = Checked.of(measured), course_in(measured)
        if course is None or not course.strays or checked.misled:
            return
        reference = abs(checked.reference)
        if not (checked.gap > limits["gap"] * reference and checked.worse_by(LIMITS["likely"])):
            return
        if checked.in_company and checked.check.active:
            return  # SD410: validation batches are composed differently
        best = float(course.val_loss.min())
        never = best >= limits["never"] * checked.baseline  # False if the baseline is unknown
        has_minimum = course.epochs[course.best] < course.epochs[-1]
        epoch = int(course.epochs[course.best])
        end = (
            f"val_loss was lowest in epoch {epoch} ({number(best)})"
            if has_minimum
            else f"val_loss reached {number(best)}"
        )
        never_better = (
            ", never better than the best prediction that ignores the input "
            f"({number(checked.reference)}): either nothing that was learned generalises, or the "
            "validation targets do not match their inputs"
            if never
            else ""
        )
        yield self.finding(
            f"overfitting: after {counted(int(course.epochs[-1]), 'epoch')} the error is "
            f"{number(checked.train)} on training samples and {number(checked.held_out)} on "
            f"validation samples: the gap is {number(checked.gap / reference)} times the baseline "
            f"error {number(checked.reference)} (threshold {number(limits['gap'])}); {end}"
            f"{never_better}",
            'keras.callbacks.EarlyStopping("val_loss", patience=10, restore_best_weights=True)',
            evidence={
                "training_items_error": checked.train,
                "validation_items_error": checked.held_out,
                "gap": checked.gap / reference,
                "best_epoch": epoch,
                "threshold": limits["gap"],
            },
            severity="warning" if never and checked.items_are_worse else "info",
            confidence=0.6 if never else 0.9,
        )
