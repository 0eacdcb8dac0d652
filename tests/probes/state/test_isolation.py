"""``preserved_state`` restores everything, bit for bit."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from tests.support import models

pytestmark = pytest.mark.tensorflow


@pytest.fixture
def model() -> Any:
    import keras

    model = models.mlp(4, 5, seed=3)
    return models.compiled(model, keras.optimizers.Adam(0.1), metrics=["mae"])


def batch() -> tuple[Any, Any]:
    generator = np.random.default_rng(0)
    return (
        generator.normal(size=(8, 4)).astype("float32"),
        generator.normal(size=(8, 1)).astype("float32"),
    )


def state(model: Any) -> list[Any]:
    holders = [model, *model.metrics, *([] if model.optimizer is None else [model.optimizer])]
    return [v.numpy().copy() for holder in holders for v in holder.variables]


def assert_same(before: list[Any], after: list[Any]) -> None:
    assert len(before) == len(after)
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_step_inside_leaves_no_trace(model: Any) -> None:
    from saldiag_probes.state.isolation import preserved_state

    model.train_on_batch(*batch())
    before = state(model)
    with preserved_state(model):
        for _ in range(3):
            model.train_on_batch(*batch())
        inside = state(model)
    assert any((one != other).any() for one, other in zip(before, inside, strict=True))
    assert_same(before, state(model))


def test_values_come_back_after_an_error(model: Any) -> None:
    from saldiag_probes.state.isolation import preserved_state

    before = state(model)

    def fail() -> None:
        with preserved_state(model):
            model.layers[0].kernel.assign_add(np.ones((4, 5)))
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fail()
    assert_same(before, state(model))


@pytest.mark.parametrize("scaled", [False, True])
def test_an_optimizer_is_unbuilt_again(model: Any, scaled: bool) -> None:
    import keras

    from saldiag_probes.state.isolation import preserved_state

    inner = keras.optimizers.Adam(0.1, use_ema=True)
    optimizer = keras.optimizers.LossScaleOptimizer(inner) if scaled else inner
    model.compile(optimizer, loss="mse")
    model.layers[0].trainable = False
    attributes = set(vars(inner))
    with preserved_state(model):
        model.train_on_batch(*batch())
        assert optimizer.built
        assert inner.built
    assert not optimizer.built
    assert not inner.built
    assert set(vars(inner)) == attributes
    assert len(inner.variables) == 2  # iterations and learning rate
    assert int(inner.iterations.numpy()) == 0
    # A built optimizer would refuse the variables of a layer that is unfrozen afterwards.
    model.layers[0].trainable = True
    model.compile(optimizer, loss="mse")
    model.train_on_batch(*batch())
    assert len(inner._momentums) == len(model.trainable_variables)


def test_training_continues_unchanged(model: Any, tmp_path: Any) -> None:
    import keras

    from saldiag_probes.state.isolation import preserved_state

    def train(probe: bool) -> list[Any]:
        keras.utils.set_random_seed(1)
        clone = keras.models.clone_model(model)
        clone.compile(keras.optimizers.Adam(0.1), loss="mse", metrics=["mae"])
        if probe:
            with preserved_state(clone):
                clone.fit(*batch(), epochs=2, batch_size=4, verbose=0)
                clone.predict(batch()[0], verbose=0)
        clone.fit(*batch(), epochs=2, batch_size=4, verbose=0)
        clone.save(tmp_path / "model.keras")  # the optimizer's bookkeeping is whole
        return state(clone)

    assert_same(train(probe=False), train(probe=True))


def test_random_draws_do_not_shift(model: Any) -> None:
    import keras
    import tensorflow as tf

    from saldiag_probes.state.isolation import preserved_state

    def draws() -> list[Any]:
        return [
            random.random(),
            np.random.rand(),  # noqa: NPY002 - the global state is what is tested
            keras.ops.convert_to_numpy(keras.random.normal((2,))),
            tf.random.normal((2,)).numpy(),
            tf.random.get_global_generator().normal((2,)).numpy(),
        ]

    def run(probe: bool) -> list[Any]:
        keras.utils.set_random_seed(5)
        tf.random.set_global_generator(tf.random.Generator.from_seed(7))
        draws()
        if probe:
            with preserved_state(model):
                draws()
        return draws()

    for one, other in zip(run(probe=False), run(probe=True), strict=True):
        np.testing.assert_array_equal(one, other)


def test_generators_made_inside_are_forgotten(model: Any) -> None:
    import keras
    from keras.src.backend.common import global_state
    from tensorflow.python.ops import stateful_random_ops

    from saldiag_probes.state.isolation import preserved_state

    global_state.set_global_attribute("global_seed_generator", None)
    stateful_random_ops.global_generator = None
    before = random.getstate()
    with preserved_state(model):
        keras.random.normal((2,))
        stateful_random_ops.get_global_generator()
    assert global_state.get_global_attribute("global_seed_generator") is None
    assert stateful_random_ops.global_generator is None
    assert random.getstate() == before


def test_a_function_traced_inside_works_outside(model: Any) -> None:
    import keras
    import tensorflow as tf
    from keras.src.backend.common import global_state

    from saldiag_probes.state.isolation import preserved_state

    global_state.set_global_attribute("global_seed_generator", None)
    noise = tf.function(lambda: keras.random.normal((2,)))
    with preserved_state(model):
        noise()
    with preserved_state(model):
        first = noise().numpy()
    assert np.isfinite(first).all()


def test_scopes_left_open_are_closed(keras: Any, model: Any) -> None:
    """TensorFlow refuses the name of the inner layer when it traces, with the outer scope open."""
    from saldiag_probes.state.isolation import preserved_random_state, preserved_state

    bad = models.sequential((4,), keras.layers.Dense(3, name="my head"), name="net")
    bad.compile("sgd", "mse")
    for block in (lambda: preserved_state(model), preserved_random_state):
        with pytest.raises(ValueError, match="my head"), block():
            bad.fit(np.ones((2, 4)), np.ones((2, 3)), verbose=0)
        dense = keras.layers.Dense(2, name="after")
        dense.build((None, 3))
        assert dense.kernel.path == "after/kernel"


def test_scopes_open_before_stay(keras: Any, model: Any) -> None:
    from saldiag_probes.state.isolation import preserved_state

    with keras.name_scope("outer"):
        with preserved_state(model):
            model.train_on_batch(*batch())
        dense = keras.layers.Dense(2, name="after")
        dense.build((None, 3))
    assert dense.kernel.path == "outer/after/kernel"
