"""Which of several causes of a ``val_loss`` that does not follow is named; plain numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from saldiag.core.measurement import Correction, InputComparison
from saldiag.rules.engine.engine import diagnose
from saldiag.rules.verdicts.validation import Checked, does_not_follow
from tests.support.measurements import around, course, healthy, items, validation, wiring

FALLS = 0.3 * np.exp(-0.25 * np.arange(10))
STUCK = course(FALLS, [0.3] * 10)


def found(*parts):
    return diagnose(healthy(*parts), verdict="learns").findings


def codes(*parts):
    return [finding.rule for finding in found(*parts)]


class TestTargets:
    def test_a_val_loss_below_0_is_repaired_by_the_scale(self):
        sinking = course(FALLS, -3.0 * np.arange(10))
        changes = (Correction("targets", "y / 255", 0.04), Correction("targets", "y - 1", -30.0))
        check = validation(-27.0, -27.0, 0.03, corrections=changes)
        assert does_not_follow(sinking)
        (finding,) = found(sinking, check)
        assert finding.rule == "SD615"
        assert "y / 255" in finding.message

    def test_a_loss_that_is_negative_itself_may_fall(self):
        falls = -3.0 * np.arange(10)
        assert not does_not_follow(course(falls, falls - 5))

    def test_renamed_classes_come_before_missing_ones(self):
        seen = items(class_counts=((0, 50), (1, 50)), validation_class_counts=((1, 16), (2, 16)))
        classes = wiring(loss="sparse_categorical_crossentropy")
        known = {"accuracy": 0.0, "mapped_accuracy": 1.0}
        shifted = validation(0.3, 0.3, 0.01, mapping=((0, 1), (1, 2)), **known)
        unseen = validation(0.3, 0.3, 0.01, mapping=((1, 2),), **known)

        def root(check):
            parts = healthy(STUCK, check, seen, classes)
            cause = diagnose(parts, verdict="learns", select=["SD615", "SD616"]).root_cause
            return cause.rule if cause is not None else None

        assert root(shifted) == "SD615"
        assert root(unseen) == "SD616"


class TestOverfitting:
    def test_a_likely_but_uncertain_gap_is_an_info(self):
        wide = validation(0.35, 0.35, 0.0, item_errors=_spread(0.35), train_item_errors=_spread(0))
        assert not Checked.of(healthy(STUCK, wide)).items_are_worse
        (finding,) = found(STUCK, wide)
        assert (finding.rule, finding.severity) == ("SD804", "info")

    def test_it_is_not_excluded_where_it_is_neither_likely_nor_unlikely(self):
        wide = validation(0.25, 0.25, 0.0, item_errors=_spread(0.25), train_item_errors=_spread(0))
        (finding,) = found(STUCK, wide)
        assert (finding.rule, finding.severity) == ("SD807", "info")
        assert "Not excluded: overfitting" in finding.message

    def test_it_is_not_found_where_an_item_depends_on_its_batch(self):
        check = validation(0.3, 0.3, 0.01, company_difference=0.5, active=("norm",))
        assert codes(STUCK, check) == ["SD410"]


def _spread(mean: float):
    """Errors of 32 items whose mean has a standard error of 0.1."""
    errors = np.random.default_rng(0).normal(size=32)
    return mean + 0.1 * np.sqrt(32) * (errors - errors.mean()) / errors.std(ddof=1)


def test_a_wide_interval_counts_all_items_of_a_validation():
    noisy = validation(0.3, 0.3, 0.25, item_errors=around(0.3, 6.0), train_item_errors=around(0.25))
    assert "SD806" in codes(STUCK, noisy)
    assert "SD806" not in codes(STUCK, replace(noisy, validated=10_000))


def test_inputs_go_before_targets_that_repair_as_much():
    same = InputComparison("", (8, 8, 3), (8, 8, 3), (0.5,), (0.3,), (0.5,), (0.3,))
    changes = (Correction("targets", "1 - y", 0.020), Correction("inputs", "x[..., ::-1]", 0.022))
    check = validation(0.3, 0.3, 0.01, inputs=(same,), corrections=changes)
    assert codes(STUCK, check) == ["SD614", "SD615"]
    worse = replace(check, corrections=(changes[0], replace(changes[1], error=0.1)))
    assert codes(STUCK, worse) == ["SD615"]


def test_the_input_that_differs_is_named():
    one = ((8, 8, 3), (8, 8, 3), (0.5,), (0.3,))
    same = InputComparison("table", *one, (0.5,), (0.3,))
    other = InputComparison("image", *one, (127.0,), (76.0,))
    change = Correction("inputs", "x / 255", 0.02, "image")
    check = validation(0.3, 0.3, 0.01, inputs=(same, other), corrections=(change,))
    (finding,) = found(STUCK, check)
    assert finding.rule == "SD614"
    assert finding.fix.endswith("x / 255 for input image")
