"""The overfit test on small models: it stops when the verdict is clear, and sees both modes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from saldiag.core.measurement import Baselines, OverfitHistory
from saldiag.rules.verdicts.overfit import verdict_of
from tests.support import models

pytestmark = pytest.mark.tensorflow

BASELINES = Baselines("mse", 1.0, 0.0, 1.0, "mean")


def batches(count: int = 1, size: int = 8) -> list[tuple[Any, Any]]:
    random = np.random.default_rng(0)
    return [
        (
            random.normal(size=(size, 6)).astype("float32"),
            random.normal(size=(size, 2)).astype("float32"),
        )
        for _ in range(count)
    ]


def model(*layers: Any, learning_rate: float = 0.02, loss: str = "mse") -> Any:
    import keras

    keras.utils.set_random_seed(1)
    made = models.sequential((6,), *layers, keras.layers.Dense(2))
    made.compile(keras.optimizers.Adam(learning_rate), loss=loss, jit_compile=False)
    return made


def run(made: Any, data: list[tuple[Any, Any]], **plan: Any) -> OverfitHistory:
    from saldiag.experiments.overfit.mode_errors import ModeErrors
    from saldiag.experiments.overfit.overfit_test import OverfitPlan, OverfitTest

    plan = {"baselines": BASELINES, "max_steps": 300, "check_every": 10, **plan}
    return OverfitTest(ModeErrors(made, data), OverfitPlan(**plan)).run()


def dense() -> Any:
    import keras

    return keras.layers.Dense(64, activation="relu")


def test_a_healthy_model_memorises_and_the_test_stops_there() -> None:
    history = run(model(dense()), batches(2))
    assert history.stopped == "memorised"
    assert len(history.loss) < 300
    assert history.training_error[-1] < 0.1
    assert history.items == 16
    assert verdict_of(history)[0] == "learns"
    assert math.isnan(history.recalibrated_error), "there is no BatchNorm to re-estimate"


def test_batches_of_inputs_alone_have_no_targets() -> None:
    import keras

    class Rebuilding(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = keras.layers.Dense(16, activation="tanh")
            self.outcome = keras.layers.Dense(4)

        def call(self, inputs: Any) -> Any:
            rebuilt = self.outcome(self.hidden(inputs))
            self.add_loss(keras.ops.mean(keras.ops.square(rebuilt - inputs)))
            return rebuilt

    made = Rebuilding()
    made.compile("adam")
    x = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
    made(x)
    history = run(made, [(x,)], max_steps=12, baselines=Baselines("", *[math.nan] * 3, "mean"))
    assert len(history.loss) == 12
    assert history.loss[-1] < history.loss[0]


def test_each_loss_is_of_one_step_and_no_running_mean() -> None:
    data = batches(2)
    made = model(learning_rate=1e-9)
    history = run(made, data, max_steps=4)
    own = [made.evaluate(x, y, verbose=0) for x, y in data]
    np.testing.assert_allclose(history.loss, own * 2, rtol=1e-4)


def zeroed(detach: bool) -> Any:
    import keras

    def dead(x: Any) -> Any:
        return (keras.ops.stop_gradient(x) if detach else x) * 0.0

    made = model(dense(), keras.layers.Lambda(dead))
    made.layers[-1].trainable = False
    made.compile("adam", "mse", jit_compile=False)
    return made


def test_without_a_known_gradient_no_step_is_taken() -> None:
    history = run(zeroed(detach=False), batches(), no_gradient=True)
    assert history.stopped == "no gradient"
    assert len(history.loss) == 0
    assert len(history.training_error) == 1
    assert verdict_of(history)[0] == "does_not_learn"


def test_gradients_that_do_not_exist_are_no_crash() -> None:
    history = run(zeroed(detach=True), batches())
    assert history.stopped == "no gradient"
    assert history.no_gradient
    assert len(history.loss) == 0
    assert verdict_of(history)[0] == "does_not_learn"


def test_nothing_trainable_takes_no_step() -> None:
    made = model()
    made.trainable = False
    made.compile("adam", "mse", jit_compile=False)
    history = run(made, batches())
    assert history.stopped == "no gradient"
    assert len(history.loss) == 0
    assert verdict_of(history)[0] == "does_not_learn"


def test_lagging_batchnorm_statistics_are_measured() -> None:
    import keras

    made = model(dense(), keras.layers.BatchNormalization(momentum=0.999), dense())
    history = run(made, batches())
    assert history.training_error[-1] < 0.1
    assert history.inference_error[-1] > 3 * history.training_error[-1]
    assert history.recalibrated_error == pytest.approx(history.training_error[-1], rel=0.05)
    assert verdict_of(history)[0] == "learns"


def test_recalibration_pools_several_batches_and_leaves_no_trace() -> None:
    import keras

    from saldiag.experiments.overfit.batchnorm_recalibration import recalibrated_error
    from saldiag.experiments.overfit.mode_errors import ModeErrors

    made = model(keras.layers.BatchNormalization(momentum=0.9))
    data = batches(3)
    before = [w.copy() for w in made.get_weights()]
    recalibrated = recalibrated_error(ModeErrors(made, data))
    for mine, old in zip(made.get_weights(), before, strict=True):
        np.testing.assert_array_equal(mine, old)
    x = np.concatenate([x for x, _ in data])
    y = np.concatenate([y for _, y in data])
    made.layers[0].moving_mean.assign(x.mean(0))
    made.layers[0].moving_variance.assign(x.var(0))
    assert recalibrated == pytest.approx(made.evaluate(x, y, verbose=0), rel=1e-4)


class Stubborn:
    """Builds networks in which one BatchNorm never updates its statistics."""

    @staticmethod
    def frozen(keras):
        encoder = models.sequential((4,), keras.layers.BatchNormalization())
        encoder.layers[0].moving_mean.assign([3.0, 1.0, -2.0, 0.5])
        encoder.trainable = False
        return models.sequential(
            (4,),
            encoder,
            keras.layers.Dense(8),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(1),
        )

    @staticmethod
    def called_in_inference_mode(keras):
        class Net(keras.Model):
            def __init__(self):
                super().__init__()
                self.one, self.two = (keras.layers.BatchNormalization() for _ in range(2))
                self.hidden, self.head = keras.layers.Dense(8), keras.layers.Dense(1)

            def call(self, x, training=None):
                x = self.hidden(self.one(x, training=False))
                return self.head(self.two(x, training=training))

        made = Net()
        made(np.zeros((1, 4), "float32"))
        made.one.moving_mean.assign([3.0, 1.0, -2.0, 0.5])
        return made


@pytest.mark.parametrize("kind", ["frozen", "called_in_inference_mode"])
def test_a_batchnorm_in_inference_mode_keeps_its_statistics_while_others_are_estimated(kind):
    """Against the estimate that hooks into the layers themselves."""
    import keras

    from saldiag.experiments.overfit.batch_statistics import (
        batch_norm_layers,
        reestimate_statistics,
    )
    from saldiag.experiments.overfit.batchnorm_recalibration import reestimated_statistics
    from saldiag.experiments.overfit.mode_errors import ModeErrors

    keras.utils.set_random_seed(2)
    made = getattr(Stubborn, kind)(keras)
    made.compile("adam", "mse", jit_compile=False)
    rng = np.random.default_rng(0)
    data = [(rng.normal(2, 3, (16, 4)).astype("float32"), np.zeros((16, 1), "float32"))] * 2
    with reestimated_statistics(ModeErrors(made, data)) as moving:
        found = [[v.numpy() for v in (n.moving_mean, n.moving_variance)]
                 for n in batch_norm_layers(made)]  # fmt: skip
    assert len(moving) == 1
    reestimate_statistics(made, data)
    for layer, values in zip(batch_norm_layers(made), found, strict=True):
        for value, variable in zip(values, (layer.moving_mean, layer.moving_variance), strict=True):
            np.testing.assert_allclose(value, variable.numpy(), rtol=1e-4, atol=1e-5)


def test_budget_and_interruption_end_it_with_a_partial_history() -> None:
    import keras

    class Interrupt(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if batch == 4:
                raise KeyboardInterrupt

    slow = model(learning_rate=1e-9)
    spent = run(slow, batches(), budget_seconds=0.0)
    assert (spent.stopped, len(spent.loss)) == ("budget", 1)
    history = run(slow, batches(), callbacks=(Interrupt(),))
    assert history.stopped == "interrupted"
    assert len(history.loss) >= 4
    assert verdict_of(history)[0] == "inconclusive"


def test_numbers_that_blow_up_end_it() -> None:
    history = run(model(learning_rate=1e38), batches())
    assert history.stopped == "non-finite"
    assert verdict_of(history)[0] == "does_not_learn"


def test_the_validation_error_is_that_of_other_items_in_inference_mode() -> None:
    made, other = model(dense(), learning_rate=1e-9), batches(2)[1:]
    history = run(made, batches(1), max_steps=2, validation=tuple(other))
    own = made.evaluate(*other[0], verbose=0)
    assert history.validation_error == pytest.approx(own, rel=1e-4)
    assert history.validation_error != pytest.approx(history.inference_error[-1], rel=1e-3)


def test_a_warm_up_longer_than_the_test_is_seen() -> None:
    import keras

    schedules = keras.optimizers.schedules
    rising = schedules.CosineDecay(0.0, 9000, warmup_target=1e-6, warmup_steps=1000)
    made = model(dense())
    made.compile(keras.optimizers.SGD(rising), loss="mse", jit_compile=False)
    assert run(made, batches(), max_steps=40).rate_growth == pytest.approx(2.0)
    assert run(model(), batches(), max_steps=40).rate_growth == pytest.approx(1.0)


def test_progress_is_reported_after_every_step() -> None:
    told: list[tuple[int, float]] = []
    history = run(
        model(learning_rate=1e-9), batches(), max_steps=5,
        progress=lambda step, loss, left: told.append((step, loss)),
    )  # fmt: skip
    assert told == list(zip(range(1, 6), history.loss.tolist(), strict=True))


def test_measuring_does_not_change_the_training() -> None:
    import keras

    def weights(check_every: int) -> list[Any]:
        keras.utils.set_random_seed(1)  # a layer draws its seed when it is made
        layers = (dense(), keras.layers.BatchNormalization(), keras.layers.Dropout(0.3, seed=3))
        made = model(*layers)
        run(made, batches(), max_steps=6, check_every=check_every)
        return [np.asarray(w) for w in made.get_weights()]

    for often, seldom in zip(weights(1), weights(100), strict=True):
        np.testing.assert_array_equal(often, seldom)


def test_sample_variation_is_zero_for_the_same_output_everywhere() -> None:
    from saldiag.experiments.overfit.mode_errors import sample_variation

    random = np.random.default_rng(0)
    assert sample_variation([np.ones((4, 3))]) == 0.0
    assert sample_variation([np.tile(random.normal(size=(1, 50)), (4, 1))]) == 0.0
    assert sample_variation([random.normal(size=(64, 50))]) == pytest.approx(1.0, abs=0.05)
