"""SD807: the loss falls, val_loss does not, and no cause was found."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds
from saldiag.core.measurement import Measurements, TrainingHistory, ValidationCheck
from saldiag.rules.shared.wording import counted, number, percent
from saldiag.rules.verdicts.validation import LIMITS, Checked, Course, course_in


class ValidationDoesNotFollow(Rule):
    """The loss falls and ``val_loss`` does not go along, for a reason that was not found.

    ## What it does
    Compares the courses of the loss and `val_loss`. Where they part and no other rule has a reason,
    it lists what was measured and excluded: BatchNorm's statistics, other preprocessing, other
    labels, layers that are active in inference, too few items. It is a note where validation items
    are worse than training items, too few to be likely, and where nothing could be measured.

    ## Why is this bad
    Whatever the model learns does not show on the data that it is judged by.

    ## Example
    ```python
    model.fit(x, y, validation_data=other)  # loss 0.4 → 0.03, val_loss 0.5 → 0.5
    ```

    ## Use instead
    ```python
    model.fit(x, y, validation_data=(x[:100], y[:100]))  # does it follow on training items?
    ```

    ## Threshold
    - `epochs` = 3: fewest epochs with validation.
    - `fell` = 0.1: least fall of the loss, as a share of its first value.
    - `apart` = 0.5: distance of `val_loss` from the loss at the end, as a share of that fall.
    - `rose` = 0.25: rise of `val_loss` since its best epoch, likewise.
    - `moved` = 0.1: least improvement of `val_loss` on its first epoch, likewise. All are our own
      choice, in the terms of Prechelt (Early Stopping - But When?, 1998).
    """

    code = "SD807"
    name = "validation-does-not-follow"
    severity = "warning"
    requires = (TrainingHistory,)
    thresholds = {name: LIMITS[name] for name in ("epochs", "fell", "apart", "rose", "moved")}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        course = course_in(measured)
        if course is None or not course.strays_by(limits):
            return
        evidence = {
            "loss": float(course.loss[-1]),
            "val_loss": float(course.val_loss[-1]),
            "distance": course.apart,
            "threshold": limits["apart"],
        }
        if measured.get(ValidationCheck) is None:
            yield self.finding(
                f"{_told(course, limits)}. The cause was not looked for: "
                f"{measured.reason(ValidationCheck)}",
                "Validate with data that fit is given as validation_data",
                evidence=evidence,
                severity="info",
                confidence=0.7,
            )
            return
        checked = Checked.of(measured)
        if checked.misled or checked.worse_by(LIMITS["likely"]) or checked.noisy:
            return  # SD802, SD614, SD615, SD804 or SD410 has the reason
        if math.isfinite(checked.undecided(course)):
            return  # SD806
        unsure = checked.gap > 0.1 * abs(checked.reference)
        maybe = f". Not certain: {_overfitting(checked)}" if unsure else ""
        yield self.finding(
            f"{_told(course, limits)}. Excluded: {'; '.join(_excluded(checked, unsure))}{maybe}",
            "Validate with training items once: if val_loss follows, look at the validation data",
            evidence=evidence,
            severity="info" if unsure else "warning",
            confidence=0.7,
        )


def _told(course: Course, limits: Thresholds) -> str:
    return (
        f"{course.described}, {number(course.apart)} of the fall apart (threshold "
        f"{number(limits['apart'])})"
    )


def _overfitting(checked: Checked) -> str:
    check = checked.check
    learnt = f"{number(checked.train)} on {counted(check.training_items, 'item')} of training"
    held = f"{number(checked.held_out)} on {counted(check.items, 'item')} of validation"
    return f"overfitting (error {learnt}, {held})"


def _excluded(checked: Checked, unsure: bool) -> Iterator[str]:
    check = checked.check
    if math.isfinite(checked.reestimated):
        yield (
            f"BatchNorm's statistics (error {number(checked.inference)}, re-estimated "
            f"{number(checked.reestimated)})"
        )
    if math.isfinite(checked.train) and not unsure:
        yield _overfitting(checked)
    for kind, what in (("inputs", "other preprocessing"), ("targets", "other labels")):
        tried = [c for c in check.corrections if c.kind == kind]
        if tried:
            best = min(tried, key=lambda c: c.error)
            yield f"{what} (best of {len(tried)} changes: {best.change}, {number(best.error)})"
    if math.isfinite(check.repeat_difference):
        yield f"random layers in inference ({percent(check.repeat_difference)} apart)"
