"""SD807: the loss falls but val_loss doesn't, and no cause was found."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds
from saldiag.core.measurement import Measurements, TrainingHistory, ValidationCheck
from saldiag.core.wording import counted, number, percent
from saldiag.rules.verdicts.validation import LIMITS, Checked, Course, course_in


class ValidationDoesNotFollow(Rule):
    """The loss falls but ``val_loss`` does not follow, and no cause was found.

    ## What it does
    Compares the curves of the loss and `val_loss`. If they diverge and no other rule has an
    explanation, lists what was measured and excluded: BatchNorm's statistics, different
    preprocessing, different labels, layers that are active in inference, too few samples. The
    finding is info if validation samples are worse than training samples but not significantly,
    or if nothing could be measured.

    ## Why is this bad
    What the model learns does not show on the data that it is evaluated on.

    ## Example
    ```python
    model.fit(x, y, validation_data=other)  # loss 0.4 → 0.03, val_loss 0.5 → 0.5
    ```

    ## Use instead
    ```python
    model.fit(x, y, validation_data=(x[:100], y[:100]))  # does it follow on training samples?
    ```

    ## Threshold
    - `epochs` = 3: fewest epochs with validation.
    - `fell` = 0.1: least fall of the loss, as a share of its first value.
    - `apart` = 0.5: distance between `val_loss` and the loss at the end, as a share of that fall.
    - `rose` = 0.25: rise of `val_loss` since its best epoch, as a share of that fall.
    - `moved` = 0.1: least improvement of `val_loss` since its first epoch, as a share of that fall.
      All are our own choice, in the terms of Prechelt (Early Stopping - But When?, 1998).
    """

    code = "SD807"
    name = "validation-does-not-follow"
    severity = "warning"
    requires = (TrainingHistory,)
    compares_losses = True
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
                f"{_divergence(course, limits)}. The cause was not examined: "
                f"{measured.reason(ValidationCheck)}",
                "print(model.evaluate(x_train, y_train), model.evaluate(x_val, y_val))",
                evidence=evidence,
                severity="info",
                confidence=0.7,
            )
            return
        checked = Checked.of(measured)
        if checked.misled or checked.worse_by(LIMITS["likely"]) or checked.noisy:
            return  # SD802, SD614, SD615, SD804 or SD410 explains it
        if math.isfinite(checked.undecided(course)):
            return  # SD806
        unsure = checked.gap > 0.1 * abs(checked.reference)
        not_excluded = f". Not excluded: {_overfitting_in_numbers(checked)}" if unsure else ""
        excluded = "; ".join(_excluded_causes(checked, unsure))
        yield self.finding(
            f"{_divergence(course, limits)}. Excluded: {excluded}{not_excluded}",
            "Validate on training samples once: if val_loss follows, check the validation data",
            evidence=evidence,
            severity="info" if unsure else "warning",
            confidence=0.7,
        )


def _divergence(course: Course, limits: Thresholds) -> str:
    """Both curves and their final gap in numbers."""
    return (
        f"{course.described}: the final gap is {number(course.apart)} times the fall of the loss "
        f"(threshold {number(limits['apart'])})"
    )


def _overfitting_in_numbers(checked: Checked) -> str:
    check = checked.check
    training = f"{number(checked.train)} on {counted(check.training_items, 'training sample')}"
    validation = f"{number(checked.held_out)} on {counted(check.items, 'validation sample')}"
    return f"overfitting (error {training}, {validation})"


def _excluded_causes(checked: Checked, unsure: bool) -> Iterator[str]:
    """What was measured and excluded as a cause, with numbers."""
    check = checked.check
    if math.isfinite(checked.reestimated):
        yield (
            f"BatchNorm's statistics (error {number(checked.inference)}, re-estimated "
            f"{number(checked.reestimated)})"
        )
    if math.isfinite(checked.train) and not unsure:
        yield _overfitting_in_numbers(checked)
    for kind, what in (("inputs", "different preprocessing"), ("targets", "different labels")):
        tried = [c for c in check.corrections if c.kind == kind]
        if tried:
            best = min(tried, key=lambda c: c.error)
            changes = counted(len(tried), "change")
            yield f"{what} (best of {changes}: {best.change}, error {number(best.error)})"
    if math.isfinite(check.repeat_difference):
        yield (
            f"random layers in inference (two passes differ by {percent(check.repeat_difference)})"
        )
