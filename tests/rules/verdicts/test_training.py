"""The verdict of a training from its curves, and how validation goes beside it; plain numbers."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saldiag.core.measurement import (
    ActedCallback,
    Correction,
    Measurements,
    StatisticsRow,
    TrainingHistory,
)
from saldiag.rules.engine.engine import diagnose
from saldiag.rules.verdicts.training import verdict_from, verdict_of_training
from saldiag.rules.verdicts.validation import Checked, course_of, does_not_follow
from tests.faults import sd802_inference_lags_training as lagging
from tests.support.measurements import (
    around,
    course,
    data,
    gradients,
    healthy,
    overfit,
    stuck,
    validation,
)

FALLS = 0.3 * np.exp(-0.25 * np.arange(10))


def measured(*parts, baseline=0.25):
    base = replace(data().baselines, independent=baseline)
    return Measurements.of(data(baselines=base), *parts)


def found(*parts):
    return diagnose(healthy(*parts), verdict="learns").findings


class TestVerdict:
    def test_a_loss_far_below_the_baseline_learns_with_its_numbers(self):
        verdict, reason = verdict_of_training(measured(course(), gradients(), validation()))
        assert verdict == "learns"
        for number in ("0.267", "0.0361", "10 epochs", "gets 0.25", "0.033 in training mode"):
            assert number in reason

    def test_a_loss_that_stays_at_the_baseline_does_not_learn(self):
        rng = np.random.default_rng(0)
        flat = 0.25 + 0.001 * rng.normal(size=20)
        many = replace(gradients(), steps=gradients().steps + 400)
        verdict, reason = verdict_of_training(measured(course(flat, flat), many))
        assert verdict == "does_not_learn"
        assert "no longer falls" in reason

    @pytest.mark.parametrize("epochs", [2, 7])
    def test_a_short_training_is_inconclusive(self, epochs):
        flat = np.full(epochs, 0.25)
        assert verdict_of_training(measured(course(flat, flat), gradients()))[0] == "inconclusive"

    def test_a_loss_that_falls_a_little_is_inconclusive(self):
        falls = np.linspace(0.25, 0.22, 20)
        many = replace(gradients(), steps=gradients().steps + 400)
        assert verdict_of_training(measured(course(falls), many))[0] == "inconclusive"

    def test_a_loss_that_is_not_finite_does_not_learn(self):
        broken = [0.3, 0.2, math.nan]
        assert verdict_of_training(measured(course(broken, broken)))[0] == "does_not_learn"

    def test_without_a_baseline_half_of_the_loss_has_to_go(self):
        assert verdict_of_training(Measurements.of(course()))[0] == "learns"
        little = np.linspace(0.3, 0.2, 10)
        verdict, reason = verdict_of_training(Measurements.of(course(little)))
        assert verdict == "inconclusive"
        assert "unknown" in reason

    def test_a_custom_loop_is_judged_by_its_measured_steps(self):
        verdict, reason = verdict_of_training(Measurements.of(gradients()))
        assert verdict == "learns"
        assert "60 measured steps" in reason

    def test_a_loop_whose_loss_is_not_known_was_not_tested(self):
        unknown = gradients(loss=np.full(60, np.nan))
        assert verdict_of_training(Measurements.of(unknown))[0] == "not_tested"

    def test_nothing_trained_was_not_tested(self):
        assert verdict_from(measured())[0] == "not_tested"

    def test_a_test_that_decides_counts(self):
        assert verdict_from(measured(stuck(), course()))[0] == "does_not_learn"
        flat = np.full(20, 0.25)
        assert verdict_from(measured(overfit(), course(flat, flat)))[0] == "learns"

    def test_a_training_decides_where_the_test_does_not(self):
        undecided = overfit(stopped="interrupted", training_error=np.full(7, 0.2),
                            inference_error=np.full(7, 0.2))  # fmt: skip
        assert verdict_from(measured(undecided))[0] == "inconclusive"
        assert verdict_from(measured(undecided, course()))[0] == "learns"

    @given(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=30))
    def test_any_curve_has_a_verdict_and_a_reason(self, values):
        verdict, reason = verdict_of_training(measured(course(values, values)))
        assert verdict in {"learns", "does_not_learn", "inconclusive", "not_tested"}
        assert reason


class TestCourse:
    def test_a_validation_loss_that_falls_with_the_loss_follows(self):
        assert not does_not_follow(course())
        assert not does_not_follow(course(FALLS, 0.5 * FALLS))
        assert not does_not_follow(course(FALLS, 1.3 * FALLS))

    @pytest.mark.parametrize(
        "held",
        [
            np.full(10, 0.3),
            [0.53, 0.46, 0.22, 0.16, 0.2, 0.23, 0.23, 0.23, 0.23, 0.23],
            0.05 + np.abs(np.linspace(-0.2, 0.25, 10)),
        ],
        ids=["stands", "rises after epoch 4", "turns"],
    )
    def test_a_validation_loss_that_does_not_fall_is_found(self, held):
        assert does_not_follow(course(FALLS, held))

    def test_without_a_falling_loss_validation_is_not_judged(self):
        assert not does_not_follow(course(np.full(10, 0.3), np.linspace(0.3, 0.9, 10)))

    def test_two_epochs_are_too_few(self):
        assert not does_not_follow(course([0.3, 0.1], [0.5, 0.5]))

    def test_epochs_without_validation_are_left_out(self):
        history = TrainingHistory(
            ("loss", "val_loss"), np.arange(1, 5), np.array([FALLS[:4], [0.3, math.nan, 0.2, 0.1]])
        )
        found_course = course_of(history)
        assert found_course is not None
        assert list(found_course.epochs) == [1, 3, 4]

    def test_no_validation_has_no_course(self):
        history = TrainingHistory(("loss",), np.arange(1, 11), FALLS[None])
        assert course_of(history) is None


class TestStatistics:
    def test_the_cause_is_the_statistics_with_layer_steps_and_line(self):
        (first, *_) = found(*_replaced(lagging.broken_in_training()))
        assert (first.rule, first.severity) == ("SD802", "error")
        assert first.layers == ("encoder/norm",)
        assert first.source is not None
        assert first.source.line == 10 + len("encoder/norm")
        assert first.evidence["steps_needed"] == math.ceil(math.log(0.1 / 27) / math.log(0.99))
        assert "BatchNormalization(momentum=0.95)" in first.fix

    def test_what_a_callback_did_is_a_consequence(self):
        acted = ActedCallback("EarlyStopping", "val_loss", 14, 4)
        check = validation(0.3, 0.04, statistics=(lagging.LAGGING,), callbacks=(acted,))
        by_rule = {f.rule: f for f in found(course(FALLS, [0.3] * 10), check)}
        assert by_rule["SD712"].explained_by == "SD802"
        assert (
            "stopped the training after epoch 14 and kept the weights of epoch 4"
            in by_rule["SD712"].message
        )

    def test_a_model_that_has_not_converged_gets_an_info(self):
        check = validation(0.26, 0.2, 0.2, statistics=(lagging.LAGGING,))
        (finding,) = [f for f in found(check, course(FALLS, [0.3] * 10)) if f.rule == "SD802"]
        assert finding.severity == "info"

    def test_a_difference_within_the_noise_of_items_is_none(self):
        noisy = np.linspace(-1, 1, 32)
        check = validation(0.08, 0.04, item_errors=0.08 + noisy,
                           reestimated_item_errors=0.04 - noisy)  # fmt: skip
        assert "SD802" not in {f.rule for f in found(check, course(FALLS, [0.3] * 10))}

    def test_where_training_items_do_not_lag_it_is_not_the_statistics(self):
        check = validation(0.3, 0.04, train_inference=np.array([0.03]))
        assert not Checked.of(healthy(check)).statistics_lag

    def test_a_momentum_of_one_never_gets_there(self):
        never = StatisticsRow("encoder/norm", 1.0, 28.0, 1.1, 27.0)
        (finding, *_) = found(validation(0.3, 0.04, statistics=(never,)), course(FALLS, [0.3] * 10))
        assert finding.evidence["steps_needed"] == 1_000_000


class TestData:
    def test_overfitting_is_a_note_where_validation_once_learned(self):
        held = [0.3, 0.22, 0.2, 0.2, 0.21, 0.22, 0.23, 0.24, 0.25, 0.26]
        (finding,) = found(course(FALLS, held), validation(0.26, 0.26, 0.01))
        assert (finding.rule, finding.severity) == ("SD804", "info")
        assert "lowest in epoch 3" in finding.message

    def test_overfitting_is_a_warning_where_it_never_did(self):
        (finding,) = found(course(FALLS, [0.3] * 10), validation(0.3, 0.3, 0.01))
        assert (finding.rule, finding.severity) == ("SD804", "warning")
        assert "do not match their inputs" in finding.message

    def test_class_weights_make_no_gap(self):
        """The loss is weighted, val_loss and the errors of the check are not."""
        weighted = course(FALLS / 300, 1.1 * FALLS)
        light = data(baselines=replace(data().baselines, independent=0.25 / 300))
        assert not found(weighted, light, validation(weight_scale=300.0))

    def test_a_correction_of_the_targets_comes_before_overfitting(self):
        change = Correction("targets", "np.roll(y, 1, axis=0)", 0.05)
        check = validation(0.3, 0.3, 0.01, corrections=(change,))
        assert [f.rule for f in found(course(FALLS, [0.3] * 10), check)] == ["SD615"]

    def test_a_change_that_closes_a_third_of_the_gap_is_no_repair(self):
        change = Correction("inputs", "x / 255", 0.2)
        check = validation(0.3, 0.3, 0.01, corrections=(change,))
        assert [f.rule for f in found(course(FALLS, [0.3] * 10), check)] == ["SD804"]

    def test_renamed_classes_are_named(self):
        check = validation(2.0, 2.0, 0.1, accuracy=0.1, mapped_accuracy=0.9,
                           mapping=((0, 1), (1, 2), (2, 0)))  # fmt: skip
        (finding,) = found(course(FALLS * 10, [2.0] * 10), check)
        assert finding.rule == "SD615"
        assert "class 0 → 1, 1 → 2, 2 → 0" in finding.message

    def test_masks_of_other_items_are_named(self):
        check = validation(0.3, 0.3, 0.01, paired_with_other=0.8, paired_with_own=0.02)
        (finding,) = found(course(FALLS, [0.3] * 10), check)
        assert finding.rule == "SD615"
        assert "other samples" in finding.message

    def test_what_is_excluded_is_listed(self):
        change = Correction("inputs", "x / 255", 0.2)
        check = validation(corrections=(change,))
        (finding,) = found(course(FALLS, [0.3] * 10), check)
        assert finding.rule == "SD807"
        for part in ("BatchNorm", "overfitting", "x / 255"):
            assert part in finding.message

    def test_without_a_check_the_reason_is_given(self):
        diagnosis = diagnose(
            Measurements.of(course(FALLS, [0.3] * 10), missing={"validation": "on two replicas"}),
            verdict="learns",
        )
        (finding,) = diagnosis.findings
        assert (finding.rule, finding.severity) == ("SD807", "info")
        assert "on two replicas" in finding.message

    @given(
        st.floats(0.0, 1.0), st.floats(0.0, 1.0), st.floats(0.0, 1.0),
        st.lists(st.floats(0, 2), min_size=10, max_size=10),
    )  # fmt: skip
    def test_there_is_always_a_cause_or_a_list(self, inference, again, train, held):
        """Where val_loss does not follow, a finding says so: never nothing."""
        check = validation(inference, again, train)
        findings = found(course(FALLS, held), check)
        if does_not_follow(course(FALLS, held)):
            rules = {f.rule for f in findings}
            assert rules & {"SD802", "SD804", "SD806", "SD807"}


class TestMetrics:
    def test_a_metric_that_is_constant_while_the_loss_falls(self):
        third = np.full(10, 1 / 3)
        (finding,) = found(course(mean_io_u=third, val_mean_io_u=third))
        assert finding.rule == "SD710"
        assert "mean_io_u is 0.333" in finding.message

    def test_a_metric_that_is_constant_without_validation(self):
        history = TrainingHistory(
            ("loss", "mean_io_u", "beta"), np.arange(1, 11),
            np.array([FALLS, np.full(10, 1 / 3), np.full(10, 0.5)]),
        )  # fmt: skip
        (finding,) = diagnose(Measurements.of(history), verdict="learns").findings
        assert finding.evidence["metric"] == "mean_io_u"

    @pytest.mark.parametrize("value", [1.0, 0.9995])
    def test_a_metric_at_its_end_is_none(self, value):
        full = np.full(10, value)
        assert not found(course(accuracy=full, val_accuracy=full))

    def test_a_metric_that_moves_in_validation_is_none(self):
        assert not found(course(accuracy=np.full(10, 0.5), val_accuracy=np.linspace(0.5, 0.6, 10)))


def _replaced(whole):
    return [part for part in whole if part.key in {"training", "validation"}]


def test_the_helpers_have_the_numbers_that_they_say():
    assert around(2.0).mean() == pytest.approx(2.0)
