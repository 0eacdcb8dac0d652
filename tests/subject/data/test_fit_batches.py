"""The first batches of what a program gives to ``fit``: as the model gets them; none is lost."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

pytestmark = pytest.mark.tensorflow

X = np.arange(40, dtype="float32").reshape(20, 2)
Y = np.arange(20, dtype="float32")[:, None]


@pytest.fixture
def feed(keras):
    from saldiag.subject.data.fit_batches import preview_fit

    def of(**arguments):
        return preview_fit({"shuffle": False, **arguments})

    return of


def as_arrays(batches):
    return [tuple(np.asarray(part) for part in batch) for batch in batches]


class TestBatches:
    def test_of_arrays(self, feed):
        batches = as_arrays(feed(x=X, y=Y, batch_size=8).batches)
        assert [len(x) for x, _ in batches] == [8, 8, 4]
        assert np.array_equal(np.concatenate([x for x, _ in batches]), X)
        assert np.array_equal(batches[0][1], Y[:8])

    def test_of_arrays_are_those_that_keras_cuts_where_nothing_is_said(self, feed):
        assert len(as_arrays(feed(x=np.zeros((100, 2)), y=np.zeros(100)).batches)[0][0]) == 32

    def test_of_dictionaries(self, feed):
        (batch,) = feed(x={"a": X, "b": X[:, :1]}, y=Y, batch_size=20).batches
        assert set(batch[0]) == {"a", "b"}

    def test_of_a_dataset(self, feed, keras):
        import tensorflow as tf

        dataset = tf.data.Dataset.from_tensor_slices((X, Y)).batch(5).repeat()
        assert [len(x) for x, _ in feed(x=dataset).batches] == [5] * 4

    def test_of_a_frame(self, feed):
        import pandas as pd

        frame = pd.DataFrame(X, columns=["a", "b"])
        (batch,) = as_arrays(feed(x=frame, y=pd.Series(Y[:, 0]), batch_size=20).batches)
        assert np.array_equal(batch[0], X)

    def test_of_inputs_alone(self, feed):
        (batch,) = feed(x=X, batch_size=20).batches
        assert len(batch) == 1

    def test_of_a_sequence(self, feed, keras):
        class Pairs(keras.utils.PyDataset):
            def __len__(self):
                return 5

            def __getitem__(self, index):
                return X[4 * index : 4 * index + 4], Y[4 * index : 4 * index + 4]

        found = feed(x=Pairs(), class_weight={i: float(i) for i in range(20)})
        assert len(found.batches) == 4
        x, _, weight = as_arrays(found.batches)[1]
        assert np.array_equal(x, X[4:8])
        assert np.array_equal(weight, [4.0, 5.0, 6.0, 7.0])

    def test_weights_are_handed_on(self, feed):
        (batch,) = feed(x=X, y=Y, sample_weight=Y[:, 0], batch_size=20).batches
        assert np.array_equal(np.asarray(batch[2]).ravel(), Y[:, 0])
        (batch,) = feed(
            x=X, y=(Y > 9).astype("int32"), class_weight={0: 1.0, 1: 3.0}, batch_size=20
        ).batches
        assert np.asarray(batch[2]).sum() == 10 + 30

    def test_a_split_keeps_validation_apart(self, feed):
        found = feed(x=X, y=Y, validation_split=0.25, batch_size=50)
        (batch,) = as_arrays(found.batches)
        assert np.array_equal(batch[0], X[:15])
        (held,) = as_arrays(found.plan.validation)
        assert np.array_equal(held[0], X[15:])
        assert np.array_equal(found.plan.data[0], X[:15])
        assert np.array_equal(found.plan.data[1], Y[:15])


def test_of_a_generator_nothing_is_lost(feed):
    def numbers():
        for i in range(7):
            yield X[i : i + 1], Y[i : i + 1]

    found = feed(x=numbers())
    assert len(found.batches) == 4
    again = list(found.replacements["x"])
    assert [float(y[0, 0]) for _, y in again] == [float(i) for i in range(7)]
    assert type(found.replacements["x"]).__name__ == "generator"


def test_an_endless_generator_is_not_read_to_its_end(feed):
    found = feed(x=((X, Y) for _ in itertools.count()))
    assert len(found.batches) == 4


def test_validation_that_can_be_read_but_once_is_left_alone(feed):
    validation = ((X, Y) for _ in range(3))
    assert not feed(x=X, y=Y, validation_data=validation).plan.validation
    assert len(list(validation)) == 3


def test_the_plan_is_what_fit_was_asked_for(feed, keras):
    callback = keras.callbacks.EarlyStopping()
    plan = feed(x=X, y=Y, epochs=7, initial_epoch=2, callbacks=[callback], batch_size=4).plan
    assert (plan.epochs, plan.batch_size, plan.shuffle) == (5, 4, False)
    assert plan.callbacks == (callback,)
    assert np.array_equal(plan.data[0], X)
