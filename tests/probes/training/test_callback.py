"""The training hook under ``fit`` and in a custom loop."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from saldiag.core.measurement import GradientHistory, Histograms, Measurements
from saldiag.core.training.schedule import every, never
from tests.support import models

pytestmark = pytest.mark.tensorflow


def batch(size: int = 32) -> tuple[Any, Any]:
    generator = np.random.default_rng(0)
    return (
        generator.normal(size=(size, 6)).astype("float32"),
        generator.normal(size=(size, 2)).astype("float32"),
    )


def compiled(**kwargs: Any) -> Any:
    import keras

    keras.utils.set_random_seed(1)
    model = models.sequential(
        (6,),
        keras.layers.Dense(5, activation="relu", name="hidden"),
        keras.layers.Dropout(0.2),
        keras.layers.Dense(2, name="out"),
    )
    model.compile(keras.optimizers.Adam(0.01), loss="mse", **kwargs)
    return model


def fit(model: Any, watch: Any, epochs: int = 2, **kwargs: Any) -> Any:
    return model.fit(*batch(), batch_size=8, epochs=epochs, verbose=0, callbacks=[watch], **kwargs)


def histories(watch: Any) -> tuple[GradientHistory, Histograms | None]:
    found = Measurements.of(*watch.measurements())
    return found.need(GradientHistory), found.get(Histograms)


@pytest.mark.parametrize("kwargs", [{}, {"run_eagerly": True}, {"steps_per_execution": 3}])
def test_every_step_under_fit(kwargs: Any) -> None:
    from saldiag_probes.training.callback import Watch

    model, watch = compiled(**kwargs), Watch("full")
    logs = fit(model, watch).history["loss"]
    history, histograms = histories(watch)
    assert watch.failed is None
    assert histograms is None
    assert history.steps.tolist() == list(range(8))
    # Keras' loss of an epoch is the mean over its batches.
    np.testing.assert_allclose(history.loss.reshape(2, 4).mean(axis=1), logs, rtol=1e-5)
    assert (history.norm > 0).all()
    assert "apply" not in vars(model.optimizer)
    assert "compute_loss" not in vars(model)


def test_the_step_is_traced_once_more() -> None:
    """tf.function traces again what makes variables: the probe's are made before."""

    from saldiag_probes.training.callback import Watch

    model = counting()
    model.fit(*batch(), verbose=0)  # Keras' own variables are made, which costs a trace too
    before, watch = model.traces, Watch("full", every(2))
    fit(model, watch, epochs=1)
    assert model.traces == before + 1
    assert histories(watch)[0].steps.size == 4


def counting() -> Any:
    """A model that has never been trained, and counts how often its training step is traced."""
    import keras

    class Counting(keras.Sequential):
        traces = 0

        def train_step(self, data: Any) -> Any:
            self.traces += 1
            return super().train_step(data)

    keras.utils.set_random_seed(1)
    model = Counting([keras.Input((6,)), keras.layers.Dense(2)])
    model.compile("adam", "mse")
    return model


def test_a_watched_step_is_traced_as_often_as_any_other() -> None:
    from saldiag_probes.training.callback import Watch

    plain, watched, watch = counting(), counting(), Watch("full", every(2))
    for _ in range(3):
        plain.fit(*batch(), batch_size=8, verbose=0)
        fit(watched, watch, epochs=1)
        assert watched.traces == plain.traces
    history, histograms = histories(watch)
    assert history.steps.tolist() == list(range(12))
    assert np.isfinite(history.loss).all()
    assert histograms is not None
    assert sorted(set(histograms.steps.tolist())) == [0, 2, 4, 6, 8, 10]
    for mine, its in zip(watched.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, its)


def test_a_recompiled_model_is_traced_again() -> None:
    from saldiag_probes.training.callback import Watch

    model, watch = counting(), Watch("full")
    fit(model, watch, epochs=1)
    traces = model.traces
    model.compile(model.optimizer, "mae")
    losses = fit(model, watch, epochs=1).history["loss"]
    assert model.traces > traces
    history, _ = histories(watch)
    assert history.steps.tolist() == list(range(8))
    np.testing.assert_allclose(history.loss[4:].mean(), losses[0], rtol=1e-5)


def test_a_fit_in_between_is_not_measured() -> None:
    from saldiag_probes.training.callback import Watch

    model, watch = counting(), Watch("full")
    fit(model, watch, epochs=1)
    model.fit(*batch(), batch_size=8, verbose=0)
    assert "apply" not in vars(model.optimizer)
    fit(model, watch, epochs=1)
    assert histories(watch)[0].steps.tolist() == list(range(8))


def test_the_step_counter_is_read_only_when_values_are_due(monkeypatch: Any) -> None:
    from saldiag_probes.training.callback import Watch
    from saldiag_probes.training.gradient_norms import GradientNorms

    asked: list[int] = []
    steps_taken = GradientNorms.steps_taken.fget

    def ask(probe: Any) -> int:
        asked.append(1)
        return int(steps_taken(probe))

    monkeypatch.setattr(GradientNorms, "steps_taken", property(ask))
    watch = Watch("economy")
    fit(compiled(), watch, epochs=25)
    assert len(asked) < 10
    assert histories(watch)[0].steps.tolist() == [0, 1, 2, 3, 4, 7, 10, 16, 26, 40, 64]


def test_evaluation_is_not_counted_as_a_step() -> None:
    from saldiag_probes.training.callback import Watch

    model, watch = compiled(run_eagerly=True), Watch("full")
    training = fit(model, watch, validation_data=(batch()[0], batch()[1] + 100)).history["loss"]
    history, _ = histories(watch)
    np.testing.assert_allclose(history.loss.reshape(2, 4).mean(axis=1), training, rtol=1e-5)


def test_losses_of_evaluation_are_left_out() -> None:
    import keras
    import tensorflow as tf

    from saldiag_probes.training.callback import Watch

    losses: list[float] = []

    class OwnStep(keras.Sequential):
        """Does not go through compute_loss; its tape knows the loss."""

        def train_step(self, data: Any) -> Any:
            x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((self(x, training=True) - y) ** 2)
            gradients = tape.gradient(loss, self.trainable_variables)
            self.optimizer.apply(gradients, self.trainable_variables)
            losses.append(float(loss))
            return {"loss": loss}

    model = OwnStep([keras.Input((6,)), keras.layers.Dense(2)])
    model.compile("sgd", "mse", run_eagerly=True)
    watch = Watch("full")
    fit(model, watch, validation_data=(batch()[0], batch()[1] + 100))
    history, _ = histories(watch)
    assert history.steps.size == 8
    np.testing.assert_allclose(history.loss, losses, rtol=1e-6)


def test_presets_and_schedules() -> None:
    from saldiag_probes.training.callback import Watch

    model = compiled()
    for schedule, steps in (("economy", [0, 1, 2, 3, 4, 7, 10]), ("business", [0, 10])):
        watch = Watch(schedule)
        fit(model, watch, epochs=3)
        assert histories(watch)[0].steps.tolist() == steps
    with pytest.raises(ValueError, match="economy, business, full"):
        Watch("cheap")


def test_steps_are_counted_over_several_fits() -> None:
    from saldiag_probes.training.callback import Watch

    model, watch = compiled(), Watch(every(3), histograms=every(5))
    fit(model, watch, epochs=1)
    assert histories(watch)[0].steps.tolist() == [0, 3]
    fit(model, watch, epochs=2)
    history, histograms = histories(watch)
    assert history.steps.tolist() == [0, 3, 6, 9]
    assert histograms is not None
    assert sorted(set(histograms.steps.tolist())) == [0, 5, 10]


def test_nothing_is_lost_when_the_ring_is_small(monkeypatch: Any) -> None:
    from saldiag_probes.training import hook_session
    from saldiag_probes.training.callback import Watch

    monkeypatch.setattr(hook_session, "RING_CAPACITY", 4)
    watch = Watch("full")
    fit(compiled(), watch, epochs=5)
    history, _ = histories(watch)
    assert history.steps.tolist() == list(range(20))
    assert history.dropped_steps == 0


def test_measurements_are_passed_on_at_once() -> None:
    from saldiag_probes.training.callback import Watch

    seen: list[int] = []
    fit(compiled(), Watch(every(2), on_measure=lambda h: seen.extend(h.steps.tolist())))
    assert seen == [0, 2, 4, 6]


def test_an_error_of_the_listener_is_not_swallowed() -> None:
    from saldiag_probes.training.callback import Watch

    def stop(history: GradientHistory) -> None:
        raise KeyError("mine")

    watch = Watch("full", on_measure=stop)
    model = compiled()
    with pytest.raises(KeyError, match="mine"):
        fit(model, watch)
    assert histories(watch)[0].steps.tolist() == [0]
    watch.close()
    assert "apply" not in vars(model.optimizer)


def test_an_exception_in_training_loses_nothing() -> None:
    import keras

    from saldiag_probes.training.callback import Watch

    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, step: int, logs: Any = None) -> None:
            if step == 2:
                raise KeyboardInterrupt

    watch, model = Watch("full"), compiled()
    with pytest.raises(KeyboardInterrupt):
        model.fit(*batch(), batch_size=8, verbose=0, callbacks=[watch, Stop()])
    assert histories(watch)[0].steps.tolist() == [0, 1, 2]
    watch.close()
    fit(model, Watch(never), epochs=1)
    assert histories(watch)[0].steps.tolist() == [0, 1, 2]


def test_a_broken_probe_does_not_break_training(monkeypatch: Any) -> None:
    from saldiag_probes.training import gradient_norms, hook_session
    from saldiag_probes.training.callback import Watch

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("broken")

    for target, name, said in (
        (gradient_norms, "before_step", "the gradients probe failed: broken"),
        (hook_session, "merge_histories", "the training hook failed: broken"),
        (hook_session, "GradientNorms", "the training hook failed: broken"),
    ):
        model = compiled()
        with monkeypatch.context() as patch:
            patch.setattr(target, name, fail)
            watch = Watch("full")
            assert len(fit(model, watch).history["loss"]) == 2
        assert watch.failed == said
        assert watch.measurements() == []
        assert "apply" not in vars(model.optimizer)
        assert "compute_loss" not in vars(model)


def test_a_training_without_optimizer_steps_is_reported() -> None:
    from saldiag_probes.training.callback import Watch

    model, watch = compiled(), Watch("full")
    model.trainable = False
    with pytest.warns(UserWarning, match="trainable"):
        fit(model, watch)
    assert "no optimizer step was seen" in (watch.failed or "")
    assert watch.measurements() == []


def test_histograms_of_gradients_and_weights() -> None:
    from saldiag_probes.training.callback import Watch

    model, watch = compiled(), Watch(never, histograms=every(4))
    fit(model, watch)
    found = Measurements.of(*watch.measurements())
    histograms = found.need(Histograms)
    assert found.get(GradientHistory) is None  # its schedule says never
    assert len(histograms.names) == 2 * 2 * 4  # kinds, steps, variables
    assert set(histograms.steps.tolist()) == {0, 4}
    for name, counts, edges in zip(
        histograms.names, histograms.counts, histograms.edges, strict=True
    ):
        kind, path = name.split("/", 1)
        variable = next(v for v in model.trainable_variables if v.path.endswith(path))
        assert kind in {"weights", "gradients"}
        assert counts.sum() == np.prod(variable.shape)
        assert (np.diff(edges) > 0).all()


@pytest.mark.parametrize("traced", [False, True])
def test_custom_loop(traced: bool) -> None:
    import keras
    import tensorflow as tf

    from saldiag_probes.training.callback import watch

    model, optimizer = compiled(), keras.optimizers.SGD(0.1)
    x, y = (tf.constant(part) for part in batch())

    def step() -> Any:
        with tf.GradientTape() as tape:
            loss = model.compute_loss(x, y, model(x, training=True))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    run = tf.function(step) if traced else step
    with watch(model, optimizer, schedule="full", histograms=every(2)) as hook:
        losses = [float(run()) for _ in range(4)]
    history, histograms = histories(hook)
    assert hook.failed is None
    assert history.steps.tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(history.loss, losses, rtol=1e-6)
    assert histograms is not None
    assert set(histograms.steps.tolist()) == {0, 2}
    assert all(name.startswith("gradients/") for name in histograms.names)
    assert "apply" not in vars(optimizer)


def test_two_optimizers_share_a_history() -> None:
    import keras
    import tensorflow as tf

    from saldiag_probes.training.callback import Watch

    class Gan(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.one = keras.layers.Dense(2, name="one")
            self.other = keras.layers.Dense(2, name="other")

        def compile(self, first: Any, second: Any) -> None:
            super().compile(optimizer=None)
            self.first, self.second = first, second

        def call(self, x: Any) -> Any:
            return self.one(x), self.other(x)

        def train_step(self, data: Any) -> Any:
            x, y = data
            for layer, optimizer in ((self.one, self.first), (self.other, self.second)):
                with tf.GradientTape() as tape:
                    loss = tf.reduce_mean((layer(x) - y) ** 2)
                weights = layer.trainable_variables
                optimizer.apply(tape.gradient(loss, weights), weights)
            return {"loss": loss}

    model = Gan()
    model(batch()[0])
    model.compile(keras.optimizers.SGD(0.1), keras.optimizers.SGD(0.2))
    watch = Watch("full")
    fit(model, watch, epochs=1)
    history, _ = histories(watch)
    assert [info.layer for info in history.variables] == ["one", "one", "other", "other"]
    assert history.steps.tolist() == [0, 1, 2, 3]
    assert (history.norm > 0).all()
    assert np.isnan(history.loss).all()
