"""Validation is watched without drawing anything twice, and without changing the training."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from saldiag.experiments.overfit.mode_errors import ModeErrors
from saldiag.experiments.validation import callback
from saldiag.experiments.validation.callback import ValidationWatch
from saldiag.experiments.validation.item_batches import count_items, rebatch_items
from saldiag_probes.hooks.batch_tap import BatchTap
from saldiag_probes.state.isolation import preserved_state
from tests.support import models

pytestmark = pytest.mark.tensorflow

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(40, 6)).astype("float32")
Y = (X[:, :1] > 0).astype("float32")


def network():
    model = models.mlp(6, 8, 1, "sigmoid", dropout=0.3, seed=3)
    return models.compiled(model, "adam", "binary_crossentropy", metrics=["accuracy"])


def watched(model):
    return ValidationWatch(lambda: (ModeErrors(model, [(X[:8], Y[:8])]), [(X[:8], Y[:8])]))


class Drawn:
    """Validation samples from a Python generator, which depend on how often it was drawn from."""

    def __init__(self):
        self.count = 0

    def __call__(self):
        while True:
            self.count += 1
            yield X[32:] + 0.01 * self.count, Y[32:]


class Stateful(keras.utils.PyDataset):
    """Batches that depend on how often the data set was asked."""

    def __init__(self):
        super().__init__()
        self.asked = 0

    def __len__(self):
        return 2

    def __getitem__(self, index):
        self.asked += 1
        return X[32:] + 0.01 * self.asked, Y[32:]


def shuffled(*, once=False):
    """Shuffled in each pass, or ``once``: Keras reads a repeated data set ahead, so that two runs
    without any callback can differ in when it is shuffled again."""
    pairs = tf.data.Dataset.from_tensor_slices((X[24:], Y[24:]))
    return pairs.shuffle(16, seed=5, reshuffle_each_iteration=not once).batch(4)


def augmented():
    generator = tf.random.Generator.from_seed(7)

    def moved(x, y):
        return x + generator.normal(tf.shape(x)), y

    return tf.data.Dataset.from_tensor_slices((X[24:], Y[24:])).map(moved).batch(4)


KINDS = {
    "arrays": lambda: {"validation_data": (X[32:], Y[32:])},
    "split": lambda: {"validation_split": 0.25},
    "shuffled": lambda: {"validation_data": shuffled()},
    "augmented": lambda: {"validation_data": augmented()},
    "generator": lambda: {"validation_data": Drawn()(), "validation_steps": 2},
    "stateful": lambda: {"validation_data": Stateful()},
    "steps": lambda: {"validation_data": shuffled(once=True).repeat(), "validation_steps": 3},
    "seldom": lambda: {"validation_data": (X[32:], Y[32:]), "validation_freq": 2},
}


def trained(kind, watch, **more):
    model = network()
    callbacks = [watched(model)] if watch else []
    history = model.fit(
        X, Y, batch_size=8, epochs=4, verbose=0, callbacks=callbacks, **KINDS[kind](), **more
    )
    state = [np.asarray(v) for v in (*model.variables, *model.optimizer.variables)]
    draws = [keras.random.normal((2,)), np.random.random(), tf.random.normal((2,))]  # noqa: NPY002
    return history.history, state, [np.asarray(d) for d in draws], callbacks


QUICK = ("split", "shuffled", "generator")


@pytest.mark.parametrize(
    "kind", [k if k in QUICK else pytest.param(k, marks=pytest.mark.slow) for k in KINDS]
)
def test_a_watched_training_is_bit_for_bit_that_without(kind):
    plain, seen = trained(kind, watch=False), trained(kind, watch=True)
    assert plain[0] == seen[0]
    for part in (1, 2):
        for one, other in zip(plain[part], seen[part], strict=True):
            np.testing.assert_array_equal(one, other)
    (watch,) = seen[3]
    assert not watch.failed
    assert {m.key for m in watch.measurements()} == {"training", "validation"}


@pytest.mark.parametrize("share", [100.0, 0.0])
def test_a_check_is_made_when_validation_first_strays_if_time_allows(share, monkeypatch):
    monkeypatch.setattr(callback, "MAX_TIME_SHARE", share)
    told = []
    model = network()
    batch = (X[:8], Y[:8])
    watch = ValidationWatch(lambda: (ModeErrors(model, [batch]), [batch]), told.append)
    model.fit(X, Y, batch_size=8, epochs=20, verbose=0, validation_data=(X[:8], 1 - Y[:8]),
              callbacks=[watch])  # fmt: skip
    (check,) = [m for m in watch.measurements() if m.key == "validation"]
    assert check.checked[-1] == 20
    assert len(told) == (share > 0)
    assert (len(check.checked) > 1) == (share > 0)


@pytest.mark.slow
def test_several_steps_in_one_call_of_the_graph():
    def compiled():
        model = network()
        model.compile("adam", "binary_crossentropy", steps_per_execution=2, jit_compile=False)
        return model

    histories = []
    for watch in (False, True):
        model = compiled()
        callbacks = [watched(model)] if watch else []
        held = shuffled()
        done = model.fit(X, Y, batch_size=8, epochs=3, verbose=0, validation_data=held,
                         callbacks=callbacks)  # fmt: skip
        histories.append(done.history)
    assert histories[0] == histories[1]
    assert not callbacks[0].failed
    (check,) = [m for m in callbacks[0].measurements() if m.key == "validation"]
    assert check.items == 16


def test_nothing_is_traced_again_for_the_buffered_batches():
    traces = []

    class Counting(keras.Sequential):
        def test_step(self, data):
            traces.append(1)
            return super().test_step(data)

    keras.utils.set_random_seed(3)
    model = Counting([keras.Input((6,)), keras.layers.Dense(1)])
    model.compile("adam", "mse", jit_compile=False)
    model.fit(X, Y, batch_size=8, epochs=1, verbose=0, validation_data=shuffled())
    plain = len(traces)
    traces.clear()
    model.compile("adam", "mse", jit_compile=False)
    model.fit(X, Y, batch_size=8, epochs=2, verbose=0, validation_data=shuffled(),
              callbacks=[watched(model)])  # fmt: skip
    assert len(traces) == plain


def test_an_error_in_the_program_leaves_no_tap_behind():
    model = network()

    class Breaks(keras.callbacks.Callback):
        def on_test_batch_end(self, batch, logs=None):
            raise RuntimeError("the program's own")

    watch = watched(model)
    with pytest.raises(RuntimeError, match="own"):
        model.fit(X, Y, epochs=1, verbose=0, validation_split=0.5, callbacks=[Breaks(), watch])
    watch.close()
    assert "_tapped" not in repr(model.test_function)
    model.evaluate(X, Y, verbose=0)


def test_a_check_that_breaks_leaves_the_training_alone():
    model = network()

    def broken():
        raise ValueError("no subject\nat all")

    watch = ValidationWatch(broken)
    model.fit(X, Y, epochs=2, verbose=0, validation_split=0.5, callbacks=[watch])
    assert watch.failed == "a check failed: no subject"
    assert [m.key for m in watch.measurements()] == ["training"]


def test_the_tap_buffers_the_batches_of_the_model():
    model = network()
    tap = BatchTap("test_function")
    model.make_test_function()
    with tap.open(model):
        model.evaluate(shuffled(), verbose=0)
    assert count_items(tap.batches) == 16
    found = np.concatenate([np.asarray(batch[0]) for batch in tap.batches])
    np.testing.assert_array_equal(np.sort(found, 0), np.sort(X[24:], 0))


def test_items_are_rebatched_to_the_training_batch_size():
    batches = [
        (tf.constant(X[:8]), tf.constant(Y[:8])),
        (tf.constant(X[8:12]), tf.constant(Y[8:12])),
    ]
    assert [len(batch[0]) for batch in rebatch_items(batches, 5)] == [5, 5]
    assert [len(batch[0]) for batch in rebatch_items(batches, 64)] == [12]
    assert rebatch_items(batches[:1], 8) is not None
    np.testing.assert_array_equal(rebatch_items(batches, 6)[1][0], X[6:12])


def test_a_check_leaves_the_model_as_it_was():
    from saldiag.experiments.validation.checks import ValidationChecks

    model = network()
    model.fit(X, Y, batch_size=8, epochs=1, verbose=0)
    before = [np.asarray(v) for v in (*model.variables, *model.optimizer.variables)]
    batch = (tf.constant(X[:8]), tf.constant(Y[:8]))
    checks = ValidationChecks(ModeErrors(model, [batch]), [batch], [batch])
    with preserved_state(model):
        checks.check_briefly(1, 5)
        checks.check_thoroughly(2, 10, searching=True, seconds=1.0)
    for one, other in zip(before, (*model.variables, *model.optimizer.variables), strict=True):
        np.testing.assert_array_equal(one, np.asarray(other))
