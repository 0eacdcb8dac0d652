"""SD804: the model has memorised the training items and is worse on others."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds
from saldiag.core.measurement import Measurements, TrainingHistory, ValidationCheck
from saldiag.rules.shared.wording import counted, number
from saldiag.rules.verdicts.validation import LIMITS, Checked, course_in


class Overfits(Rule):
    """Training items are predicted better and better, validation items are not.

    ## What it does
    Where `val_loss` does not follow the loss, compares the error on training and on validation
    items in the same mode, item by item, after everything else was excluded: BatchNorm's
    statistics, inputs or targets that differ, layers that are active in inference. It is a note,
    and a warning where validation never got better than a prediction that ignores the input.

    ## Why is this bad
    More epochs make it worse: the model learns what holds for its training items alone.

    ## Example
    ```python
    model.fit(x, y, validation_data=held_out, epochs=200)  # 100 items, a million weights
    ```

    ## Use instead
    ```python
    stop = keras.callbacks.EarlyStopping("val_loss", patience=10, restore_best_weights=True)
    model.fit(x, y, validation_data=held_out, epochs=200, callbacks=[stop])
    ```

    ## Threshold
    - `gap` = 0.1: least distance of the two errors, as a share of the error of the best prediction
      that ignores the input; it has to be likely over items as well (1.96 standard errors), and
      certain (three) for the warning.
    - `never` = 0.98: best validation error, as a share of the same, above which validation never
      learned anything. The remedies are those of Goodfellow, Bengio & Courville (Deep Learning,
      2016, chapter 7).
    """

    code = "SD804"
    name = "overfits-training-items"
    severity = "info"
    requires = (ValidationCheck, TrainingHistory)
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
            return  # SD410: the batches of validation are composed otherwise
        best = float(course.val_loss.min())
        never = best >= limits["never"] * checked.baseline  # not if the baseline is unknown
        turned = course.epochs[course.best] < course.epochs[-1]
        epoch = int(course.epochs[course.best])
        end = (
            f"val_loss was lowest in epoch {epoch} ({number(best)})"
            if turned
            else f"val_loss came to {number(best)}"
        )
        chance = (
            ", never better than the best prediction that ignores the input "
            f"({number(checked.reference)}): either nothing that was learned holds for other "
            "items, or the validation targets do not belong to their inputs"
            if never
            else ""
        )
        yield self.finding(
            f"overfitting: after {counted(int(course.epochs[-1]), 'epoch')} the error is "
            f"{number(checked.train)} on training items and {number(checked.held_out)} on "
            f"validation items, a gap of {number(checked.gap / reference)} of the reference "
            f"{number(checked.reference)} (threshold {number(limits['gap'])}); {end}{chance}",
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
