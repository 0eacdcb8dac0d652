"""The plan of a ``fit`` call, and its batches as the model gets them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

pytestmark = pytest.mark.tensorflow

X = np.arange(40, dtype="float32").reshape(20, 2)
Y = np.arange(20, dtype="float32")[:, None]


@pytest.fixture
def batches_of():
    from saldiag.subject.data import fit_batches

    def of(**arguments):
        found = fit_batches.batches_of({"shuffle": False, **arguments})
        return tuple(itertools.islice(found, fit_batches.PREVIEW_BATCHES))

    return of


@pytest.fixture
def plan_of():
    from saldiag.subject.data.fit_batches import plan_of_fit

    return lambda **arguments: plan_of_fit({"shuffle": False, **arguments})


def as_arrays(batches):
    return [tuple(np.asarray(part) for part in batch) for batch in batches]


class TestBatches:
    def test_of_arrays(self, batches_of):
        batches = as_arrays(batches_of(x=X, y=Y, batch_size=8))
        assert [len(x) for x, _ in batches] == [8, 8, 4]
        assert np.array_equal(np.concatenate([x for x, _ in batches]), X)
        assert np.array_equal(batches[0][1], Y[:8])

    def test_of_arrays_are_those_that_keras_cuts_where_nothing_is_said(self, batches_of):
        assert len(as_arrays(batches_of(x=np.zeros((100, 2)), y=np.zeros(100)))[0][0]) == 32

    def test_of_dictionaries(self, batches_of):
        (batch,) = batches_of(x={"a": X, "b": X[:, :1]}, y=Y, batch_size=20)
        assert set(batch[0]) == {"a", "b"}

    def test_of_a_dataset(self, batches_of, keras):
        import tensorflow as tf

        dataset = tf.data.Dataset.from_tensor_slices((X, Y)).batch(5).repeat()
        assert [len(x) for x, _ in batches_of(x=dataset)] == [5] * 4

    def test_of_a_frame(self, batches_of):
        import pandas as pd

        frame = pd.DataFrame(X, columns=["a", "b"])
        (batch,) = as_arrays(batches_of(x=frame, y=pd.Series(Y[:, 0]), batch_size=20))
        assert np.array_equal(batch[0], X)

    def test_of_inputs_alone(self, batches_of):
        (batch,) = batches_of(x=X, batch_size=20)
        assert len(batch) == 1

    def test_of_a_sequence(self, batches_of, keras):
        class Pairs(keras.utils.PyDataset):
            def __len__(self):
                return 5

            def __getitem__(self, index):
                return X[4 * index : 4 * index + 4], Y[4 * index : 4 * index + 4]

        found = batches_of(x=Pairs(), class_weight={i: float(i) for i in range(20)})
        assert len(found) == 4
        x, _, weight = as_arrays(found)[1]
        assert np.array_equal(x, X[4:8])
        assert np.array_equal(weight, [4.0, 5.0, 6.0, 7.0])

    def test_weights_are_handed_on(self, batches_of):
        (batch,) = batches_of(x=X, y=Y, sample_weight=Y[:, 0], batch_size=20)
        assert np.array_equal(np.asarray(batch[2]).ravel(), Y[:, 0])
        (batch,) = batches_of(
            x=X, y=(Y > 9).astype("int32"), class_weight={0: 1.0, 1: 3.0}, batch_size=20
        )
        assert np.asarray(batch[2]).sum() == 10 + 30

    def test_a_split_keeps_validation_apart(self, batches_of, plan_of):
        arguments = {"x": X, "y": Y, "validation_split": 0.25, "batch_size": 50}
        (batch,) = as_arrays(batches_of(**arguments))
        plan = plan_of(**arguments)
        assert np.array_equal(batch[0], X[:15])
        (held,) = as_arrays(plan.validation)
        assert np.array_equal(held[0], X[15:])
        assert np.array_equal(plan.data[0], X[:15])
        assert np.array_equal(plan.data[1], Y[:15])


def test_nothing_is_drawn_for_the_plan(plan_of):
    drawn = []

    def numbers():
        for i in range(7):
            drawn.append(i)
            yield X[i : i + 1], Y[i : i + 1]

    plan = plan_of(x=numbers(), validation_data=numbers())
    assert plan.is_drawn_once
    assert plan.validation is None
    assert drawn == []


class TestPipelines:
    """Which pipelines may be read beside the training."""

    def pipelines(self):
        import tensorflow as tf

        counter = tf.Variable(0.0)
        plain = tf.data.Dataset.from_tensor_slices((X, Y))
        return {
            "plain": plain.map(lambda x, y: (x * 2.0, y)).batch(5).repeat().prefetch(2),
            "shuffled": plain.shuffle(8, seed=3).batch(5),
            "shuffled below": plain.shuffle(8).batch(5).map(lambda x, y: (x, y)).repeat(2),
            "random": plain.map(lambda x, y: (x + tf.random.normal([2]), y)).batch(5),
            "python": plain.map(
                lambda x, y: (tf.numpy_function(lambda v: v, [x], tf.float32), y)
            ).batch(5),
            "counting": plain.map(lambda x, y: (x, y + counter.assign_add(1.0))),
            "generated": tf.data.Dataset.from_generator(
                lambda: iter([(X, Y)]),
                output_signature=(tf.TensorSpec((20, 2)), tf.TensorSpec((20, 1))),
            ),
        }

    @pytest.mark.parametrize(
        "name",
        ["plain", "shuffled", "shuffled below", "random", "python", "counting", "generated"],
    )
    def test_only_those_without_state(self, name, plan_of):
        data = self.pipelines()[name]
        assert plan_of(x=data).is_drawn_once == (name != "plain")

    def test_arrays_may_be_read_and_sequences_not(self, plan_of, keras):
        class Pairs(keras.utils.PyDataset):
            def __len__(self):
                return 5

        assert not plan_of(x=X, y=Y).is_drawn_once
        assert plan_of(x=Pairs()).is_drawn_once


def test_validation_that_can_be_read_but_once_is_left_alone(plan_of):
    validation = ((X, Y) for _ in range(3))
    assert plan_of(x=X, y=Y, validation_data=validation).validation is None
    assert len(list(validation)) == 3
    assert plan_of(x=X, y=Y).validation == ()


def test_the_batch_of_a_call_has_its_weights():
    from saldiag.subject.data.fit_batches import batch_of_call

    classes = (Y > 9).astype("int32")
    _, _, weight = batch_of_call({"x": X, "y": classes, "class_weight": {0: 1.0, 1: 3.0}})
    assert np.asarray(weight).sum() == 10 + 30
    assert len(batch_of_call({"x": X})) == 1


def test_the_plan_is_what_fit_was_asked_for(plan_of, keras):
    callback = keras.callbacks.EarlyStopping()
    plan = plan_of(x=X, y=Y, epochs=7, initial_epoch=2, callbacks=[callback], batch_size=4)
    assert (plan.epochs, plan.batch_size, plan.shuffle) == (5, 4, False)
    assert plan.callbacks == (callback,)
    assert np.array_equal(plan.data[0], X)
