"""The learning rate range test: what it finds, and that it leaves nothing behind."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from saldiag.app.session.judging import judge
from saldiag.core.measurement import Measurements, RangeTest
from saldiag.rules.shared.update_ratios import fastest_rate
from tests.support import models
from tests.support.measurements import STEPS, overfit, wiring

RATES = np.geomspace(1e-6, 1.0, 25)


def curve(fastest: float) -> RangeTest:
    """A loss that falls around ``fastest`` and leaves a decade and a half behind it."""
    at = np.log10(RATES / fastest)
    loss = 1.0 - 0.8 / (1.0 + np.exp(-4.0 * at)) + np.where(at > 1.5, 10.0 ** (at - 1.5) - 1, 0)
    return RangeTest(rates=RATES, loss=loss)


class TestFastestRate:
    @pytest.mark.parametrize("fastest", [1e-4, 1e-3, 1e-2])
    def test_is_the_decade_of_the_steepest_fall(self, fastest):
        assert fastest_rate(curve(fastest)) in (pytest.approx(fastest), pytest.approx(fastest / 10))

    def test_a_fall_after_the_loss_diverged_does_not_count(self):
        test = curve(1e-3)
        loss = test.loss.copy()
        loss[-1] = loss.min() / 10
        assert fastest_rate(RangeTest(RATES, loss)) == fastest_rate(test)

    @pytest.mark.parametrize(
        "loss",
        [np.ones(25), np.linspace(1, 2, 25), np.zeros(25), np.full(25, math.nan), -np.ones(25)],
    )
    def test_is_unknown_where_nothing_falls(self, loss):
        assert math.isnan(fastest_rate(RangeTest(RATES, loss)))

    def test_is_unknown_without_a_test(self):
        assert math.isnan(fastest_rate(None))


def test_the_rule_names_the_decade_that_was_found():
    errors = np.linspace(0.25, 0.2, STEPS + 1)
    slow = overfit(errors, stopped="steps", max_steps=STEPS)
    measured = Measurements.of(slow, wiring(learning_rate=1e-5), curve(1e-3))
    (found,) = [f for f in judge(measured).findings if f.rule == "SD803"]
    assert found.evidence["fastest_rate"] in (pytest.approx(1e-3), pytest.approx(1e-4))
    assert f"learning_rate={found.evidence['fastest_rate']:g}" in found.fix
    assert "range test" in found.message
    near = measured.with_(wiring(learning_rate=1e-3))
    (found,) = [f for f in judge(near).findings if f.rule == "SD803"]
    assert "range test" not in found.message


@pytest.mark.tensorflow
class TestRangeTest:
    @staticmethod
    def errors(keras, optimizer):
        from saldiag.experiments.overfit.mode_errors import ModeErrors

        rng = np.random.default_rng(0)
        keras.utils.set_random_seed(0)
        model = models.sequential((6,), keras.layers.Dense(16, "relu"), keras.layers.Dense(1))
        model.compile(optimizer, "mse", jit_compile=False)
        x = rng.standard_normal((16, 6)).astype("float32")
        y = x[:, :1] * 2.0 - x[:, 1:2]
        return ModeErrors(model, [(x[:8], y[:8]), (x[8:], y[8:])])

    def test_finds_a_rate_at_which_the_loss_falls_and_leaves_all_as_it_was(self, keras):
        from saldiag.experiments.overfit.learning_rate_range import range_test

        errors = self.errors(keras, keras.optimizers.Adam(1e-6))
        errors.model.fit(*errors.batches[0], verbose=0)
        variables = [*errors.model.variables, *errors.model.optimizer.variables]
        before = [np.asarray(v) for v in variables]
        found = range_test(errors)
        assert 1e-3 <= fastest_rate(found) <= 0.1 + 1e-9
        assert all(
            np.array_equal(old, np.asarray(v)) for old, v in zip(before, variables, strict=True)
        )

    def test_ends_where_the_loss_has_left(self, keras):
        from saldiag.experiments.overfit.learning_rate_range import range_test

        found = range_test(self.errors(keras, keras.optimizers.SGD(1e-3, momentum=0.99)))
        assert len(found.loss) < len(RATES)
        assert not np.isfinite(found.loss[-1]) or found.loss[-1] > 4 * found.loss.min()

    def test_a_schedule_cannot_be_set_aside(self, keras):
        from saldiag.experiments.overfit.learning_rate_range import range_test
        from saldiag_probes.trace.errors import CannotMeasure

        schedule = keras.optimizers.schedules.ExponentialDecay(1e-3, 10, 0.9)
        with pytest.raises(CannotMeasure, match="schedule"):
            range_test(self.errors(keras, keras.optimizers.Adam(schedule)))

    def test_no_time_left_ends_it_after_one_pass(self, keras):
        from saldiag.experiments.overfit.learning_rate_range import range_test

        assert len(range_test(self.errors(keras, "adam"), budget_seconds=0.0).loss) == 1


@pytest.mark.tensorflow
class TestTheRateToTrainAt:
    def test_at_the_upper_end_a_tenth_is_taken(self):
        from saldiag.experiments.interventions.library.learning_rate import _stable_rate

        falls = RangeTest(rates=np.geomspace(1e-6, 1.0, 25), loss=np.geomspace(2.0, 0.3, 25))
        assert _stable_rate(1.0, falls) == pytest.approx(0.1)
        assert _stable_rate(0.1, falls) == 0.1
        left = replace(falls, loss=np.array([*falls.loss[:-1], 5.0]))
        assert _stable_rate(1.0, left) == 1.0  # what is too high was seen, and is not this
