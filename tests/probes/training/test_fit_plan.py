"""The plan of a training in numbers: rates, lengths, what callbacks take for better."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.support import models

pytestmark = pytest.mark.tensorflow
keras = pytest.importorskip("keras")
tf = pytest.importorskip("tensorflow")

from saldiag.core.training.fit_plan import FitPlan  # noqa: E402


def _measured(rate: Any, **plan: Any) -> Any:
    from saldiag_probes.training.fit_plan import measure_plan

    model = models.compiled(models.dense(2, 1), keras.optimizers.Adam(rate), "mse")
    return measure_plan(model, FitPlan(**plan))


def test_a_schedule_is_sampled_over_the_planned_steps() -> None:
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([49], [0.1, 0.01])
    found = _measured(schedule, epochs=10, steps_per_epoch=10)
    assert found.schedule == "PiecewiseConstantDecay"
    assert found.at[0] == 0
    assert found.at[-1] == pytest.approx(9.9)
    np.testing.assert_allclose(found.rates, np.where(found.at < 4.95, 0.1, 0.01), rtol=1e-6)
    assert found.peak == pytest.approx(0.1)


def test_a_cycle_and_a_rate_that_rises_without_end() -> None:
    from saldiag.recipes.cyclic_lr import TriangularCyclicalLearningRate

    cycle = TriangularCyclicalLearningRate(1e-4, 1e-3, 2000)
    assert _measured(cycle, epochs=1, steps_per_epoch=10).peak == pytest.approx(1e-3, rel=0.1)
    rising = keras.optimizers.schedules.ExponentialDecay(1e-6, 100, 1.5)
    assert np.isnan(_measured(rising, epochs=1, steps_per_epoch=10).peak)


def test_a_custom_schedule_gets_steps_of_the_optimizers_dtype() -> None:
    class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step: Any) -> Any:
            first = tf.minimum(step, tf.constant(10, "int64"))
            return 0.01 * keras.ops.cast(first, "float32")

    found = _measured(WarmUp(), epochs=2, steps_per_epoch=10)
    assert found.rates[-1] == pytest.approx(0.1)


def test_a_scheduler_is_called_for_every_epoch() -> None:
    callback = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
    found = _measured(0.8, epochs=3, callbacks=(callback,))
    assert found.rates.tolist() == pytest.approx([0.4, 0.2, 0.1])


def test_steps_follow_from_the_size_of_arrays() -> None:
    x = np.zeros((33, 2), np.float32)
    assert _measured(0.1, data=(x, x), epochs=1).steps_per_epoch == 2
    assert _measured(0.1, epochs=1).steps_per_epoch is None


@pytest.mark.parametrize(
    ("monitor", "mode", "direction"),
    [("val_loss", "auto", "min"), ("loss", "max", "max"), ("val_score", "auto", "")],
)
def test_direction_of_a_monitored_metric(monitor: str, mode: str, direction: str) -> None:
    """A metric of that name is not known before the compiled metrics are built."""
    from saldiag_probes.training.fit_plan import measure_plan

    model = models.compiled(models.dense(2, 1), "adam", "mse", metrics=["mae"])
    stopping = keras.callbacks.EarlyStopping(monitor, mode=mode)
    (found,) = measure_plan(model, FitPlan(callbacks=(stopping,))).callbacks
    assert found.direction == direction
    assert found.config["patience"] == 0
    assert stopping.monitor_op is None


@pytest.mark.parametrize(("given", "validated"), [(None, None), ((), False), (((1, 2),), True)])
def test_validation_data_are_given_missing_or_unknown(given: Any, validated: bool | None) -> None:
    assert _measured(0.1, validation=given).validated is validated
    assert _measured(0.1).validated is None
