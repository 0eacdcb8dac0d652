"""Gradient norms from inside the training graph."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from saldiag.core.measurement import GradientHistory
from saldiag.core.training.schedule import every
from tests.support import models

pytestmark = pytest.mark.tensorflow


def batch(size: int = 8) -> tuple[Any, Any]:
    generator = np.random.default_rng(0)
    return (
        generator.normal(size=(size, 6)).astype("float32"),
        generator.normal(size=(size, 2)).astype("float32"),
    )


def sequential(dtype: Any = None) -> Any:
    import keras

    return models.sequential(
        (6,),
        keras.layers.Dense(5, activation="relu", dtype=dtype, name="hidden"),
        keras.layers.BatchNormalization(name="norm"),
        keras.layers.Dense(2, name="out"),
    )


def functional() -> Any:
    import keras

    shared = keras.layers.Dense(6, activation="tanh", name="shared")
    add, out = keras.layers.Add(), keras.layers.Dense(2, name="out")
    return models.functional((6,), lambda x: out(add([shared(x), shared(shared(x))])))


def subclassed() -> Any:
    import keras

    class Own(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.stack = [keras.layers.Dense(6, activation="tanh") for _ in range(2)]
            self.head = keras.layers.Dense(2)

        def call(self, x: Any) -> Any:
            for layer in self.stack:
                x = x + layer(x)
            return self.head(x)

    model = Own()
    model(np.zeros((1, 6), "float32"))
    return model


def nested() -> Any:
    import keras

    return models.in_form("functional", (6,), keras.layers.Dense(6, name="first"), sequential())


MODELS = (sequential, functional, subclassed, nested)


def compiled(make: Callable[[], Any] = sequential, optimizer: Any = None, **kwargs: Any) -> Any:
    import keras

    keras.utils.set_random_seed(1)
    model = make()
    model.compile(optimizer or keras.optimizers.SGD(0.1), loss="mse", **kwargs)
    return model


def tape_gradients(model: Any) -> list[Any]:
    """The gradients of the first step, from an eager tape, which leaves the model as it was."""
    import tensorflow as tf

    from saldiag_probes.state.isolation import preserved_state

    x, y = (tf.constant(part) for part in batch())
    with preserved_state(model), tf.GradientTape() as tape:
        loss = model.compute_loss(x, y, model(x, training=True))
    gradients = tape.gradient(loss, model.trainable_variables)
    return [tf.convert_to_tensor(g).numpy().astype("float64") for g in gradients]


def measure(model: Any, steps: int = 1, **kwargs: Any) -> GradientHistory:
    from saldiag_probes.training.gradient_norms import GradientNorms

    with GradientNorms(model, **kwargs) as probe:
        for _ in range(steps):
            model.train_on_batch(*batch())
        assert probe.failed is None
        return probe.collect()


def assert_is(history: GradientHistory, row: int, gradients: list[Any]) -> None:
    assert len(history.variables) == len(gradients)
    expected = {
        "norm": [np.linalg.norm(g.ravel()) for g in gradients],
        "mean": [np.abs(g).mean() for g in gradients],
        "maximum": [np.abs(g).max() for g in gradients],
        "zero_share": [(g == 0).mean() for g in gradients],
        "nonfinite_share": [0.0 for _ in gradients],
    }
    for name, values in expected.items():
        np.testing.assert_allclose(getattr(history, name)[row], values, rtol=1e-5, err_msg=name)


@pytest.mark.parametrize("make", MODELS)
@pytest.mark.parametrize("eagerly", [False, True])
@pytest.mark.parametrize("few", [False, True])
def test_agrees_with_an_eager_tape(
    make: Any, eagerly: bool, few: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from saldiag_probes.training import step_statistics

    monkeypatch.setattr(step_statistics, "FEW_ELEMENTS", 1 << 14 if few else 0)
    model = compiled(make, run_eagerly=eagerly)
    gradients = tape_gradients(model)
    before = [v.numpy().astype("float64") for v in model.trainable_variables]
    history = measure(model)
    after = [v.numpy().astype("float64") for v in model.trainable_variables]
    assert_is(history, 0, gradients)
    weight = np.array([np.linalg.norm(w) for w in before])
    change = np.array([np.linalg.norm(a - b) for a, b in zip(after, before, strict=True)])
    np.testing.assert_allclose(history.weight_norm[0], weight, rtol=1e-5)
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(history.update_ratio[0], change / weight, rtol=1e-5)
    assert history.steps.tolist() == [0]
    assert history.loss_scale.tolist() == [1.0]
    assert np.isnan(history.loss).all()
    assert history.dropped_steps == 0


def test_names_the_variables_by_path() -> None:
    infos = measure(compiled(nested)).variables
    assert [info.path.split("/")[-2:] for info in infos[:2]] == [
        ["first", "kernel"],
        ["first", "bias"],
    ]
    assert infos[2].layer.endswith("/hidden")
    assert infos[2].shape == (6, 5)
    assert infos[2].dtype == "float32"


def custom_train_step() -> Any:
    import keras
    import tensorflow as tf

    class Own(keras.Sequential):
        def train_step(self, data: Any) -> Any:
            x, y, _ = data
            with tf.GradientTape() as tape:
                loss = self.compute_loss(x, y, self(x, training=True))
            variables = list(reversed(self.trainable_variables))
            self.optimizer.apply(tape.gradient(loss, variables), variables)
            return {"loss": loss}

    return Own(sequential().layers)


def test_custom_train_step_in_another_order() -> None:
    model = compiled(custom_train_step)
    gradients = tape_gradients(model)
    assert_is(measure(model), 0, gradients)


@pytest.mark.parametrize("traced", [False, True])
@pytest.mark.parametrize("method", ["apply", "apply_gradients"])
def test_custom_loop(traced: bool, method: str) -> None:
    import keras
    import tensorflow as tf

    from saldiag_probes.training.gradient_norms import GradientNorms

    model = compiled()
    optimizer = keras.optimizers.Adam(0.01)
    gradients = tape_gradients(model)

    def step(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(x, training=True) - y) ** 2)
        found = tape.gradient(loss, model.trainable_variables)
        if method == "apply":
            optimizer.apply(found, model.trainable_variables)
        else:
            optimizer.apply_gradients(zip(found, model.trainable_variables, strict=True))
        return loss

    run = tf.function(step) if traced else step
    with GradientNorms(model, optimizer) as probe:
        for _ in range(3):
            run(*(tf.constant(part) for part in batch()))
        history = probe.collect()
    assert probe.failed is None
    assert history.steps.tolist() == [0, 1, 2]
    assert_is(history, 0, gradients)


def test_closing_leaves_the_optimizer_as_it_was() -> None:
    from saldiag_probes.hooks.engine import HOOKS
    from saldiag_probes.training.gradient_norms import GradientNorms

    model = compiled()
    model.train_on_batch(*batch())  # traced before the probe comes
    attributes = set(vars(model.optimizer))
    with GradientNorms(model) as probe:
        model.train_on_batch(*batch())
        assert HOOKS.subscriptions
    assert not HOOKS.subscriptions
    assert set(vars(model.optimizer)) == attributes
    model.train_on_batch(*batch())
    assert probe.collect().steps.tolist() == [0]
    assert probe.collect().steps.tolist() == []


def test_probes_on_one_optimizer_close_in_any_order() -> None:
    from saldiag_probes.training.gradient_norms import GradientNorms

    model = compiled()
    first, second = GradientNorms(model), GradientNorms(model)
    model.train_on_batch(*batch())
    first.close()
    model.train_on_batch(*batch())
    second.close()
    model.train_on_batch(*batch())
    assert first.collect().steps.tolist() == [0]
    assert second.collect().steps.tolist() == [0, 1]


def test_schedule_and_capacity() -> None:
    history = measure(compiled(), steps=11, schedule=every(2), capacity=4)
    assert history.steps.tolist() == [4, 6, 8, 10]
    assert history.dropped_steps == 2


def test_steps_per_execution() -> None:
    from saldiag_probes.training.gradient_norms import GradientNorms

    model = compiled(steps_per_execution=4)
    with GradientNorms(model, schedule=every(3)) as probe:
        model.fit(*batch(40), batch_size=4, epochs=1, shuffle=False, verbose=0)
    assert probe.steps_taken == 10
    assert probe.collect().steps.tolist() == [0, 3, 6, 9]


def test_no_gradient_is_nan_and_no_effect_is_zero() -> None:
    import keras

    class Detached(keras.layers.Layer):
        def build(self, shape: Any) -> None:
            self.unused = self.add_weight(shape=(3,), initializer="ones", name="unused")

        def call(self, x: Any) -> Any:
            return keras.ops.stop_gradient(x) * 0 + x

    def make() -> Any:
        return models.sequential((6,), Detached(), keras.layers.Dense(2))

    model = compiled(make)
    with pytest.warns(UserWarning, match="Gradients do not exist"):
        history = measure(model)
    assert history.variables[0].path.endswith("unused")
    for name in ("norm", "mean", "maximum", "zero_share", "nonfinite_share"):
        assert np.isnan(getattr(history, name)[0, 0])
        assert np.isfinite(getattr(history, name)[0, 1:]).all()
    assert history.update_ratio[0, 0] == 0
    assert history.weight_norm[0, 0] == pytest.approx(3**0.5)


def test_dead_units_have_exactly_zero_gradients() -> None:
    def dead() -> Any:
        model = sequential()
        model.layers[0].bias.assign(np.full(5, -1e3))
        return model

    history = measure(compiled(dead))
    assert (history.norm[0, :2] == 0).all()
    assert (history.zero_share[0, :2] == 1).all()
    assert (history.update_ratio[0, :2] == 0).all()
    assert (history.norm[0, 2:] > 0).any()


def test_update_ratio_includes_clipping_by_the_optimizer() -> None:
    import keras

    clipped = measure(compiled(optimizer=keras.optimizers.SGD(1.0, clipnorm=1e-3)))
    kernels = [i for i, v in enumerate(clipped.variables) if v.path.endswith("kernel")]
    change = clipped.update_ratio[0, kernels] * clipped.weight_norm[0, kernels]
    np.testing.assert_allclose(change, 1e-3, rtol=1e-3)
    assert (clipped.norm[0][kernels] > 1e-2).all()
    zeros = clipped.weight_norm[0] == 0
    assert zeros.any()
    assert np.isinf(clipped.update_ratio[0][zeros]).all()


def test_gradient_accumulation() -> None:
    import keras

    optimizer = keras.optimizers.SGD(0.1, gradient_accumulation_steps=2)
    history = measure(compiled(optimizer=optimizer), steps=4)
    assert ((history.update_ratio > 0).any(axis=1)).tolist() == [False, True, False, True]
    assert (history.norm[:, 0] > 0).all()


@pytest.mark.parametrize("kind", ["factor", "dynamic"])
def test_values_are_unscaled(kind: str) -> None:
    import keras

    plain = measure(compiled())
    if kind == "factor":
        optimizer: Any = keras.optimizers.SGD(0.1, loss_scale_factor=1024.0)
    else:
        optimizer = keras.optimizers.LossScaleOptimizer(
            keras.optimizers.SGD(0.1), initial_scale=1024.0
        )
    history = measure(compiled(optimizer=optimizer))
    assert history.loss_scale.tolist() == [1024.0]
    for name in ("norm", "mean", "maximum", "update_ratio", "weight_norm"):
        np.testing.assert_allclose(getattr(history, name), getattr(plain, name), rtol=1e-4)


def test_a_step_skipped_by_the_loss_scale_shows() -> None:
    import keras

    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1))
    model = compiled(lambda: sequential("mixed_float16"), optimizer)
    x, y = batch()
    from saldiag_probes.training.gradient_norms import GradientNorms

    with GradientNorms(model) as probe:
        model.train_on_batch(x, y * 1e5)  # overflows float16 on its way back
        model.train_on_batch(x, y)
    history = probe.collect()
    assert history.loss_scale.tolist() == [2.0**15, 2.0**14]
    hidden = [i for i, v in enumerate(history.variables) if "hidden" in v.path]
    assert (history.nonfinite_share[0, hidden] > 0).any()
    assert np.isinf(history.norm[0, hidden]).any()
    assert (history.update_ratio[0] == 0).all()
    assert (history.nonfinite_share[1] == 0).all()
    assert (history.update_ratio[1] > 0).any()


def test_norms_neither_overflow_nor_vanish() -> None:
    import tensorflow as tf

    from saldiag_probes.training.batched_statistics import (
        gradient_statistics,
        l2_norms,
        pack_tensors,
    )

    values = np.array([[3e30, 4e30], [3e-30, 4e-30], [3, 4]], "float32")
    half = tf.constant([60000.0] * 300, tf.float16)
    double = tf.constant([3e-60, 4e-60], tf.float64)
    block = pack_tensors([tf.constant(row) for row in values])
    np.testing.assert_allclose(l2_norms(block), [5e30, 5e-30, 5], rtol=1e-6)
    np.testing.assert_allclose(gradient_statistics(block)[:, 0], [5e30, 5e-30, 5], rtol=1e-6)
    np.testing.assert_allclose(l2_norms(pack_tensors([half])), [60000 * 300**0.5], rtol=1e-3)
    np.testing.assert_allclose(l2_norms(pack_tensors([double])), [5e-60], rtol=1e-12)


def test_statistics_of_many_shapes_agree_with_numpy() -> None:
    import tensorflow as tf

    from saldiag_probes.training.batched_statistics import (
        gradient_statistics,
        group_by_size,
        pack_tensors,
    )

    generator = np.random.default_rng(2)
    shapes: list[tuple[int, ...]] = [(), (1,), (127,), (128,), (129,), (3, 5, 7), (300, 40)]
    arrays = [generator.normal(size=shape).astype("float32") for shape in shapes]
    arrays[3][::2] = 0
    arrays[5][0, 0, :3] = [np.nan, np.inf, -np.inf]
    found = gradient_statistics(pack_tensors([tf.constant(a) for a in arrays])).numpy()
    for row, array in zip(found, arrays, strict=True):
        wide = array.astype("float64")
        sound = np.isfinite(wide).all()
        assert row[0] == pytest.approx(np.linalg.norm(wide) if sound else np.inf, rel=1e-6)
        assert row[1] == pytest.approx(np.abs(wide).mean() if sound else np.inf, rel=1e-6)
        assert row[2] == pytest.approx(np.abs(wide).max() if sound else np.inf)
        assert row[3] == pytest.approx((wide == 0).mean())
        assert row[4] == pytest.approx((~np.isfinite(wide)).mean())
    sizes = [array.size for array in arrays]
    groups = group_by_size(sizes, 200)
    assert list(itertools.chain(*groups)) == list(range(len(arrays)))
    assert all(sum(sizes[i] for i in group[:-1]) < 200 for group in groups)


@pytest.mark.parametrize("eagerly", [False, True])
def test_sparse_gradients(eagerly: bool) -> None:
    import keras
    import tensorflow as tf

    def make() -> Any:
        return models.sequential(
            (4,),
            keras.layers.Embedding(50, 3, name="embedding"),
            keras.layers.Flatten(),
            keras.layers.Dense(2),
            dtype="int32",
        )

    x = np.array([[1, 2, 2, 3], [3, 3, 2, 9]], "int32")  # repeated on purpose
    y = batch(2)[1]
    model = compiled(make, run_eagerly=eagerly)
    with tf.GradientTape() as tape:
        loss = model.compute_loss(x, y, model(x, training=True))
    found = tape.gradient(loss, model.trainable_variables)
    assert isinstance(found[0], tf.IndexedSlices)
    gradients = [tf.convert_to_tensor(g).numpy().astype("float64") for g in found]
    from saldiag_probes.training.gradient_norms import GradientNorms

    with GradientNorms(model) as probe:
        model.train_on_batch(x, y)
    assert probe.failed is None
    assert_is(probe.collect(), 0, gradients)


def test_two_optimizers_have_a_probe_each() -> None:
    import keras
    import tensorflow as tf

    from saldiag_probes.training.gradient_norms import GradientNorms

    class Gan(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.other = keras.layers.Dense(2), keras.layers.Dense(2)
            self.built = True

        def compile(self, first: Any, second: Any) -> None:
            super().compile()
            self.first, self.second = first, second

        def train_step(self, data: Any) -> Any:
            x, y = data
            for layer, optimizer in ((self.one, self.first), (self.other, self.second)):
                with tf.GradientTape() as tape:
                    loss = tf.reduce_mean((layer(x) - y) ** 2)
                weights = layer.trainable_variables
                optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
            return {"loss": loss}

    model = Gan()
    model.one.build((None, 6))
    model.other.build((None, 6))
    model.compile(keras.optimizers.SGD(0.1), keras.optimizers.SGD(0.2))
    with GradientNorms(model, model.first) as first, GradientNorms(model, model.second) as second:
        model.fit(*batch(), verbose=0, batch_size=8, epochs=2)
    for probe, layer in ((first, model.one), (second, model.other)):
        history = probe.collect()
        assert {info.layer for info in history.variables} == {layer.name}
        assert history.norm.shape == (2, 2)
        assert (history.norm > 0).all()


def test_a_broken_probe_does_not_break_training(monkeypatch: Any) -> None:
    from saldiag_probes.training import gradient_norms
    from saldiag_probes.training.gradient_norms import GradientNorms

    def fail(*args: Any) -> Any:
        raise RuntimeError("broken\non purpose")

    model = compiled()
    for function in ("before_step", "after_step"):
        with monkeypatch.context() as patch:
            patch.setattr(gradient_norms, function, fail)
            with GradientNorms(model) as probe:
                loss = model.train_on_batch(*batch())
                assert "apply" not in vars(model.optimizer)
        assert np.isfinite(loss)
        assert probe.failed == "the gradients probe failed: broken"
        assert probe.collect().steps.size == 0


def test_a_variable_from_elsewhere_detaches_the_probe() -> None:
    import keras

    from saldiag_probes.training.gradient_norms import GradientNorms

    model, other = compiled(), compiled()
    model.optimizer = keras.optimizers.SGD(0.1)
    model.optimizer.build(model.trainable_variables)
    with GradientNorms(model) as probe:
        model.train_on_batch(*batch())
        stranger = other.trainable_variables
        with pytest.raises(ValueError, match="Unknown variable"):
            model.optimizer.apply([v * 0 for v in stranger], stranger)
    assert "is not among the variables that the optimizer was built for" in (probe.failed or "")


def test_models_that_cannot_be_watched_are_refused(monkeypatch: Any) -> None:
    import tensorflow as tf

    from saldiag.core.errors import ModelError
    from saldiag_probes.training.gradient_norms import GradientNorms

    model = sequential()
    with pytest.raises(ModelError, match="there is no optimizer"):
        GradientNorms(model)
    model = compiled()
    strategy = object.__new__(tf.distribute.ParameterServerStrategy)
    monkeypatch.setattr(model, "_distribute_strategy", strategy)
    with pytest.raises(ModelError, match="ParameterServerStrategy"):
        GradientNorms(model)


def test_steps_beyond_the_planned_ones_are_scheduled(monkeypatch: Any) -> None:
    import tensorflow as tf

    from saldiag_probes.training import ring_buffer

    monkeypatch.setattr(ring_buffer, "PLANNED_STEPS", 8)
    rows = ring_buffer.RingBuffer(1, capacity=100, schedule=every(3))

    def write() -> Any:
        rows.write(tf.constant([1.0], tf.float64))
        return tf.constant(True)

    @tf.function
    def step() -> None:
        tf.cond(rows.is_scheduled(), write, lambda: tf.constant(False))
        rows.advance()

    found: list[int] = []
    for _ in range(20):
        step()
        found += rows.drain()[0].tolist()
    assert found == [0, 3, 6, 9, 12, 15, 18]


def test_a_schedule_that_changes_later_is_evaluated_again(monkeypatch: Any) -> None:
    import tensorflow as tf

    from saldiag_probes.training import ring_buffer

    monkeypatch.setattr(ring_buffer, "PLANNED_STEPS", 8)
    rows = ring_buffer.RingBuffer(1, capacity=100, schedule=lambda step: step < 12)
    assert rows.is_scheduled() is True

    @tf.function
    def step() -> None:
        rows.write(tf.constant([1.0], tf.float64))
        rows.advance()

    found: list[int] = []
    for _ in range(20):
        step()
        found += rows.drain()[0].tolist()
    assert found == list(range(12))


def test_a_function_of_the_users_measures_nothing_after_close() -> None:
    import tensorflow as tf

    from saldiag_probes.training.gradient_norms import GradientNorms

    model = compiled()
    model.optimizer.build(model.trainable_variables)
    variables = model.trainable_variables

    @tf.function
    def step() -> None:
        model.optimizer.apply([tf.ones_like(v) for v in variables], variables)

    for schedule in (every(1), every(2)):
        with GradientNorms(model, schedule=schedule) as probe:
            step()
        step()
        step()
        assert probe.collect().steps.tolist() == [0]
        step = tf.function(step.python_function)


def test_eager_steps_beyond_the_planned_ones_are_scheduled(monkeypatch: Any) -> None:
    import tensorflow as tf

    from saldiag_probes.training import ring_buffer

    monkeypatch.setattr(ring_buffer, "PLANNED_STEPS", 8)
    rows = ring_buffer.RingBuffer(1, capacity=100, schedule=every(3))
    for _ in range(20):
        if rows.is_scheduled():
            rows.write(tf.constant([1.0], tf.float64))
        rows.advance()
    assert rows.drain()[0].tolist() == [0, 3, 6, 9, 12, 15, 18]
