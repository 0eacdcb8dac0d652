"""``saldiag.watch``: a custom training loop, from Python."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

import saldiag
from tests.support import models

pytestmark = [
    pytest.mark.slow,
    pytest.mark.tensorflow,
    # Keras says it of the fault that is seeded here.
    pytest.mark.filterwarnings("ignore:You are using a softmax over axis:UserWarning"),
]


@pytest.fixture(scope="module")
def data():
    return models.sign_data(32)


def own_loop(keras, form, last, loss_of=None):
    """An uncompiled model and a step of a loop over it; ``loss_of(y, y_pred)`` is MSE if None."""
    import tensorflow as tf

    model = models.normalized(form, last, compiled=False)
    optimizer = keras.optimizers.Adam(0.01)

    def step(x, y):
        with tf.GradientTape() as tape:
            predicted = model(x, training=True)
            loss = loss_of(y, predicted) if loss_of else tf.reduce_mean((predicted - y) ** 2)
        weights = model.trainable_variables
        optimizer.apply(tape.gradient(loss, weights), weights)  # trains here

    return model, optimizer, step


GRAPHS = pytest.mark.parametrize("in_a_graph", [True, False], ids=["graph", "eager"])


class TestWatchALoop:
    """The model is not compiled: what the rules judge comes from the loop's own first step."""

    @GRAPHS
    @pytest.mark.parametrize("form", ["functional", "subclassed"])
    @pytest.mark.parametrize("last", ["softmax", "sigmoid"])
    def test_names_a_fault_with_the_line_and_is_silent_without(
        self, last, form, in_a_graph, keras, data
    ):
        import tensorflow as tf

        model, optimizer, step = own_loop(keras, form, last)
        train = tf.function(step) if in_a_graph else step
        with saldiag.watch(model, optimizer, schedule="full", ignore="SD902") as watching:
            for _ in range(4):
                train(*data)
            halfway = watching.diagnosis()
            train(*data)
        diagnosis = watching.diagnosis()
        history = diagnosis.measured.get(saldiag.core.measurement.GradientHistory)
        assert list(history.steps) == [0, 1, 2, 3, 4]
        if last == "sigmoid":
            assert not diagnosis.findings
        else:
            assert halfway.root_cause.rule == diagnosis.root_cause.rule == "SD101"
            assert diagnosis.verdict == "does_not_learn"
            source = diagnosis.root_cause.source
            assert source.file.endswith("test_api_loop.py")
            assert source.text.endswith("# trains here")
        assert len(diagnosis.skipped) < 45, diagnosis.skipped

    @GRAPHS
    def test_trains_as_without_it_and_leaves_keras_as_it_was(self, in_a_graph, keras, data):
        import tensorflow as tf
        from tensorflow.python.eager.polymorphic_function.polymorphic_function import Function

        hooked = (keras.Model, keras.layers.Layer, keras.optimizers.Optimizer, tf.GradientTape)
        hooked += (keras.Variable, *keras.Model.__mro__, *keras.Variable.__mro__, Function)
        before = [dict(vars(cls)) for cls in hooked if cls is not object]
        trained = []
        for watched in (False, True):
            model, optimizer, step = own_loop(keras, "functional", "sigmoid")
            train = tf.function(step) if in_a_graph else step
            block = saldiag.watch(model, data=data) if watched else contextlib.nullcontext()
            with block:
                for _ in range(4):
                    train(*data)
            train(*data)
            trained.append(models.variable_bytes([*model.variables, *optimizer.variables]))
            trained[-1].append(np.asarray(keras.random.uniform((3,))).tobytes())
        assert trained[0] == trained[1]
        assert [dict(vars(cls)) for cls in hooked if cls is not object] == before

    def test_variables_that_can_be_read_once_reach_the_optimizer(self, keras, data):
        trained = []
        for watched in (False, True):
            model, optimizer, _ = own_loop(keras, "functional", "sigmoid")
            block = saldiag.watch(model, optimizer) if watched else contextlib.nullcontext()
            with block:
                for _ in range(2):
                    weights = model.trainable_variables
                    gradients = [keras.ops.ones_like(weight) for weight in weights]
                    optimizer.apply(gradients, iter(weights))
            trained.append(models.variable_bytes(model.variables))
        assert trained[0] == trained[1]

    def test_the_gradient_is_that_of_the_loops_own_loss(self, keras, data):
        """It falls off in the pass that the loop makes anyway."""
        model, optimizer, step = own_loop(keras, "functional", "sigmoid")
        with saldiag.watch(model, optimizer, schedule="full") as watching:
            step(*data)
        measured = {type(m).__name__: m for m in watching.measurements()}
        flow, history = measured["GradientFlow"], measured["GradientHistory"]
        np.testing.assert_allclose(flow.loss, history.loss[0], rtol=1e-5)
        assert all(0 < variable.norm < 1 for variable in flow.variables)

    def test_targets_are_looked_at_where_the_data_is_given(self, keras, data):
        model, optimizer, step = own_loop(keras, "functional", "sigmoid")
        spoilt = data[1].copy()
        spoilt[3] = np.nan
        with saldiag.watch(model, optimizer, data=(data[0], spoilt)) as watching:
            step(data[0], spoilt)
        assert "SD603" in {finding.rule for finding in watching.diagnosis().findings}

    def test_others_in_the_block_pass_through(self, keras, data):
        """Two blocks at once, as of the two networks of a GAN; and a model that is not watched."""
        made_ones = [own_loop(keras, "functional", last) for last in ("sigmoid", "softmax")]
        (good, _, train_good), (bad, _, train_bad) = made_ones
        other = models.normalized("functional")
        with saldiag.watch(good) as well, saldiag.watch(bad) as ill:
            other.fit(*data, epochs=1, verbose=0)
            for _ in range(3):
                train_good(*data)
                train_bad(*data)
        assert well.diagnosis().root_cause is None
        assert ill.diagnosis().root_cause.rule == "SD101"

    def test_says_that_no_step_was_seen(self):
        model = models.normalized("functional", compiled=False)
        with saldiag.watch(model) as watching:
            pass
        assert "no optimizer step was seen" in str(watching.diagnosis().measured.missing)
        with pytest.raises(ValueError, match="no schedule"), saldiag.watch(model, schedule="each"):
            pass
