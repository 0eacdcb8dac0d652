"""Batches are buffered on their way: nothing is drawn twice, or before its turn."""

from __future__ import annotations

import numpy as np
import pytest

pytestmark = [
    pytest.mark.tensorflow,
    # Keras says what it cannot shuffle, and when a generator ends.
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

X = np.random.default_rng(0).normal(size=(40, 6)).astype("float32")
Y = (X[:, :1] > 0).astype("float32")
BATCHES = 4


def dense(keras):
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", steps_per_execution=1)
    return model


def from_generator(log, *, none=False):
    def draw():
        for start in range(0, 40, 8):
            log.append("draw")
            yield (
                X[start : start + 8] + 0.01 * len(log),
                Y[start : start + 8],
                *((None,) if none else ()),
            )

    return draw()


def sources(keras):
    import tensorflow as tf

    class Stateful(keras.utils.PyDataset):
        drawn = 0

        def __len__(self):
            return 5

        def __getitem__(self, index):
            self.drawn += 1
            part = slice(8 * index, 8 * index + 8)
            return X[part] + 0.01 * self.drawn, Y[part]

    plain = tf.data.Dataset.from_tensor_slices((X, Y))
    generator = tf.random.Generator.from_seed(4)
    noisy = plain.map(lambda x, y: (x + generator.normal([6]), y))
    return {
        "arrays": {"x": X, "y": Y, "batch_size": 8},
        "shuffled": {"x": plain.shuffle(16, seed=5).batch(8)},
        "partial": {"x": plain.batch(16)},
        "random": {"x": noisy.batch(8)},
        "generator": {"x": from_generator([])},
        "sequence": {"x": Stateful()},
        "weights": {"x": X, "y": Y, "sample_weight": Y[:, 0], "batch_size": 8},
    }


SOURCES = ["arrays", "shuffled", "partial", "random", "generator", "sequence", "weights"]


@pytest.mark.parametrize("execution", [1, 3])
@pytest.mark.parametrize("source", SOURCES)
def test_the_model_gets_the_same_batches(source, execution, keras):
    from saldiag_probes.hooks.batch_tap import BatchTap

    outcomes = []
    for tapped in (False, True):
        model = dense(keras)
        model.steps_per_execution = execution
        tap = BatchTap("train_function", max_batches=BATCHES)

        class Tapping(keras.callbacks.Callback):
            def on_train_begin(self, logs=None):
                if tapped:  # noqa: B023 - called in this round
                    tap.attach(self.model)  # noqa: B023 - called in this round

            def on_train_end(self, logs=None):
                tap.detach()  # noqa: B023 - as above

        given = sources(keras)[source]
        epochs = 1 if source == "generator" else 2
        history = model.fit(
            **given, epochs=epochs, shuffle=source == "arrays", verbose=0, callbacks=[Tapping()]
        )
        outcomes.append((history.history, [w.tolist() for w in model.get_weights()]))
        if tapped:
            assert len(tap.batches) == min(BATCHES, -(-40 // len(tap.batches[0][0])) * epochs)
            assert [len(b) for b in tap.batches] == [3 if source == "weights" else 2] * len(
                tap.batches
            )
            assert model.train_function is not None
    assert outcomes[0] == outcomes[1]


def test_each_batch_is_drawn_when_its_step_comes():
    import types

    import tensorflow as tf

    from saldiag_probes.hooks.batch_tap import BatchTap

    log = []

    def draw():
        for number in range(5):
            log.append(f"draw {number}")
            yield np.float32(number)

    options = tf.data.Options()
    options.experimental_optimization.inject_prefetch = False
    data = tf.data.Dataset.from_generator(draw, output_signature=tf.TensorSpec(()))
    data = data.with_options(options)
    model = types.SimpleNamespace(
        train_function=lambda iterator: log.append(f"step {int(next(iterator))}")
    )
    tap, iterator = BatchTap("train_function", max_batches=3), iter(data)
    with tap.open(model):
        for _ in range(5):
            model.train_function(iterator)
    assert log == [f"{what} {number}" for number in range(5) for what in ("draw", "step")]
    assert [float(x) for (x,) in tap.batches] == [0.0, 1.0, 2.0]


def test_empty_values_of_a_generator_are_none(keras):
    from saldiag_probes.hooks.batch_tap import BatchTap

    model, tap = dense(keras), BatchTap("train_function", max_batches=BATCHES)
    model.make_train_function()
    with tap.open(model):
        model.fit(from_generator([], none=True), verbose=0)
    assert [len(batch) for batch in tap.batches] == [3] * BATCHES
    assert {batch[2] for batch in tap.batches} == {None}


def test_nothing_is_traced_again(keras):
    from saldiag_probes.hooks.batch_tap import BatchTap

    traces = []

    class Counting(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(1)

        def call(self, x):
            traces.append(x.shape)
            return self.dense(x)

    counts = []
    for tapped in (False, True):
        traces.clear()
        model = Counting()
        model.build((None, 6))
        model.compile("sgd", "mse")
        tap = BatchTap("train_function", max_batches=2)
        model.make_train_function()
        if tapped:
            tap.attach(model)
        model.fit(X, Y, batch_size=8, epochs=2, verbose=0)
        tap.detach()
        counts.append(len(traces))
    assert counts[0] == counts[1]


def test_the_data_error_of_a_program_is_its_own(keras):
    import tensorflow as tf

    from saldiag_probes.hooks.batch_tap import BatchTap

    def broken():
        yield X[:8], Y[:8]
        raise RuntimeError("no more disks")

    errors = []
    for tapped in (False, True):
        model, tap = dense(keras), BatchTap("train_function", max_batches=BATCHES)
        data = tf.data.Dataset.from_generator(
            broken, output_signature=(tf.TensorSpec((None, 6)), tf.TensorSpec((None, 1)))
        )
        model.make_train_function()
        if tapped:
            tap.attach(model)
        with pytest.raises(tf.errors.OpError, match="no more disks") as caught:
            model.fit(data, verbose=0)
        tap.detach()
        errors.append(type(caught.value))
    assert errors[0] is errors[1]
    assert len(tap.batches) == 1
