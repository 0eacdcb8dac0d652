"""BatchNorm's statistics re-estimated from batches: pooled exactly, and nothing else touched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.support import models

pytestmark = pytest.mark.tensorflow

SIZES = (5, 8, 3)


def batches(shape: tuple[int, ...] = (4,), sizes: tuple[int, ...] = SIZES) -> list[Any]:
    """Inputs whose batches differ in size, mean and spread."""
    random = np.random.default_rng(0)
    return [
        (random.normal(3 * n, 1 + n, (size, *shape)).astype(np.float32), np.zeros((size, 1)))
        for n, size in enumerate(sizes)
    ]


def everything(data: list[Any]) -> np.ndarray:
    return np.concatenate([x for x, _ in data]).astype(np.float64)


def reestimate(model: Any, data: Any) -> tuple[str, ...]:
    from saldiag.experiments.overfit.batch_statistics import reestimate_statistics

    return reestimate_statistics(model, data)


def assert_pooled(norm: Any, values: np.ndarray, rtol: float = 1e-5) -> None:
    """The layer's statistics are those of ``values``, over all axes but the last."""
    axes = tuple(range(values.ndim - 1))
    np.testing.assert_allclose(norm.moving_mean.numpy(), values.mean(axes), rtol=rtol, atol=1e-5)
    np.testing.assert_allclose(norm.moving_variance.numpy(), values.var(axes), rtol=rtol, atol=1e-6)


@pytest.mark.parametrize("momentum", [0.0, 0.99, 1.0])
def test_statistics_are_those_of_all_batches_together_at_any_momentum(
    keras: Any, momentum: float
) -> None:
    norm = keras.layers.BatchNormalization(momentum=momentum)
    model = models.sequential((4,), norm)
    data = batches()
    assert reestimate(model, iter(data)) == (norm.path,)
    assert_pooled(norm, everything(data))
    assert norm.momentum == momentum


def test_a_mean_that_is_large_costs_no_precision(keras: Any) -> None:
    norm = keras.layers.BatchNormalization()
    model = models.sequential((4,), norm)
    data = [(1e3 + x, y) for x, y in batches(sizes=(8,) * 50)]
    reestimate(model, data)
    assert_pooled(norm, everything(data), rtol=1e-4)


def test_picture_batches_weigh_by_their_positions(keras: Any) -> None:
    norm = keras.layers.BatchNormalization()
    model = models.sequential((None, None, 2), norm)
    small, large = batches((2, 3, 2), (2,))[0], batches((7, 5, 2), (4,))[0]
    reestimate(model, [small, (large[0] + 5, large[1])])
    values = np.concatenate([small[0].reshape(-1, 2), (large[0] + 5).reshape(-1, 2)])
    assert_pooled(norm, values.astype(np.float64))


def test_a_layer_that_is_called_twice_pools_both_calls(keras: Any) -> None:
    norm, join = keras.layers.BatchNormalization(), keras.layers.Concatenate()
    model = models.functional((4,), lambda x: join([norm(x), norm(keras.ops.multiply(x, 3.0))]))
    data = batches()
    reestimate(model, data)
    assert_pooled(norm, np.concatenate([everything(data), 3 * everything(data)]))


def nested(keras: Any, norm: Any) -> Any:
    return models.functional((4,), models.sequential((4,), models.sequential((4,), norm)))


def subclassed(keras: Any, norm: Any) -> Any:
    return models.subclassed(norm, shape=(4,))


def eager(keras: Any, norm: Any) -> Any:
    return models.compiled(models.sequential((4,), norm), run_eagerly=True)


def built(model: Any) -> Any:
    model(np.zeros((1, 4), np.float32))
    return model


@pytest.mark.parametrize("make", [nested, subclassed, eager])
def test_models_of_every_kind(keras: Any, make: Callable[[Any, Any], Any]) -> None:
    class Renamed(keras.layers.BatchNormalization):  # type: ignore[misc, name-defined]
        """A layer of the user's."""

    norm = Renamed(momentum=0.5, name="other_name")
    data = batches()
    assert reestimate(make(keras, norm), data) == (norm.path,)
    assert_pooled(norm, everything(data))


def test_masked_positions_do_not_count(keras: Any) -> None:
    norm = keras.layers.BatchNormalization()
    model = models.sequential((3, 2), keras.layers.Masking(0.0), norm)
    data = batches((3, 2), (4, 6))
    for x, _ in data:
        x[:, 2:] = 0
    reestimate(model, data)
    assert_pooled(norm, everything(data)[:, :2], rtol=1e-3)


def test_half_precision_keeps_statistics_in_float32(keras: Any, half: None) -> None:
    norm = keras.layers.BatchNormalization()
    model = models.sequential((4,), norm)
    data = batches()
    reestimate(model, data)
    assert norm.moving_mean.dtype == "float32"
    assert_pooled(norm, everything(data), rtol=5e-3)


def test_layers_in_inference_mode_keep_theirs(keras: Any) -> None:
    frozen = keras.layers.BatchNormalization(name="frozen", trainable=False)
    fixed = keras.layers.BatchNormalization(name="fixed")
    moving = keras.layers.BatchNormalization(name="moving")

    class Net(keras.Model):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.parts = [frozen, fixed, moving]

        def call(self, inputs: Any) -> Any:
            return fixed(moving(frozen(inputs)), training=False)

    model = built(Net())
    before = [[v.numpy() for v in layer.variables] for layer in (frozen, fixed)]
    assert reestimate(model, batches()) == (moving.path,)
    for layer, values in zip((frozen, fixed), before, strict=True):
        for variable, value in zip(layer.variables, values, strict=True):
            np.testing.assert_array_equal(variable.numpy(), value)


def test_without_batches_or_layers_nothing_changes(keras: Any) -> None:
    plain = models.dense(4, 1)
    assert reestimate(plain, batches()) == ()
    norm = keras.layers.BatchNormalization()
    assert reestimate(models.sequential((4,), norm), []) == ()
    np.testing.assert_array_equal(norm.moving_variance.numpy(), np.ones(4))


def test_nothing_but_the_statistics_changes(keras: Any) -> None:
    """Weights, optimizer, metrics, the seed of a Dropout, numpy's and Keras' random states."""
    keras.utils.set_random_seed(3)
    norm = keras.layers.BatchNormalization()
    layers = keras.layers
    model = models.sequential((4,), layers.Dense(4), norm, layers.Dropout(0.5), layers.Dense(1))
    model.compile("adam", "mse", metrics=["mae"], jit_compile=False)
    x, y = batches()[0]
    model.train_on_batch(x, y)
    statistics = {norm.moving_mean.path, norm.moving_variance.path}
    holders = (model, model.optimizer, *model.metrics)
    before = [(v, np.array(v)) for holder in holders for v in holder.variables]

    def drawing() -> Any:
        for batch in batches():
            np.random.random()  # noqa: NPY002 - what unseeded user code draws from
            keras.random.normal((1,))
            yield batch

    state = np.random.get_state()[1].tolist()  # type: ignore[index] # noqa: NPY002
    calls = dict(vars(norm))
    assert reestimate(model, drawing()) == (norm.path,)
    for variable, value in before:
        same = np.array_equal(np.array(variable), value)
        assert same != (variable.path in statistics), variable.path
    assert np.random.get_state()[1].tolist() == state  # type: ignore[index] # noqa: NPY002
    assert dict(vars(norm)) == calls
    assert "assign" not in vars(norm.moving_mean)
    expected = model.predict(x, verbose=0)
    model.train_on_batch(x, y)  # the averages move again
    assert not np.array_equal(model.predict(x, verbose=0), expected)


def test_an_error_while_reading_batches_restores_the_layers(keras: Any) -> None:
    norm = keras.layers.BatchNormalization()
    model = models.sequential((4,), norm)

    def broken() -> Any:
        yield batches()[0]
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        reestimate(model, broken())
    assert norm.momentum == 0.99
    assert "call" not in vars(norm)
    np.testing.assert_array_equal(norm.moving_mean.numpy(), np.zeros(4))
