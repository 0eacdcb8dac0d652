"""Gradient flow: per-call gradients against an eager tape, cuts, loops, loss scale."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support import models

pytestmark = pytest.mark.tensorflow
RNG = np.random.default_rng(7)


@pytest.fixture(scope="module")
def measure():
    from saldiag_probes.survey import measure_gradient_flow

    return measure_gradient_flow


def by_path(rows):
    return {row.path: row for row in rows}


def close(a, b):
    return a == pytest.approx(b, rel=1e-5, abs=1e-12)


def eager_norms(loss, tensors, tape):
    return [
        None if g is None else float(np.linalg.norm(g.numpy()))
        for g in tape.gradient(loss, tensors)
    ]


def test_sequential_agrees_with_a_tape_that_watches_every_tensor(keras, measure):
    import tensorflow as tf

    layers = keras.layers
    model = models.compiled(
        models.sequential(
            (6, 6, 2),
            layers.Conv2D(3, 3, activation="tanh", name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.Flatten(name="flat"),
            layers.Dense(2, name="out"),
        ),
    )
    x, y = RNG.random((5, 6, 6, 2), np.float32), RNG.random((5, 2), np.float32)
    flow = measure(model, (x, y))
    with tf.GradientTape() as tape:
        tensors = [tf.constant(x)]
        tape.watch(tensors[0])
        for layer in model.layers:
            tensors.append(layer(tensors[-1], training=True))
        loss = tf.reduce_mean((tensors[-1] - y) ** 2)
    norms = eager_norms(loss, [*tensors, *(v.value for v in model.trainable_variables)], tape)
    assert [row.path for row in flow.rows] == ["conv", "norm", "flat", "out"]
    for row, before, after in zip(flow.rows, norms, norms[1:], strict=False):
        assert close(row.input_gradient, before)
        assert close(row.output_gradient, after)
    assert [v.path for v in flow.variables][:2] == ["conv/kernel", "conv/bias"]
    for variable, norm in zip(flow.variables, norms[len(tensors) :], strict=True):
        assert variable.norm == pytest.approx(norm, rel=1e-5, abs=1e-7)
    assert flow.loss == pytest.approx(float(loss), rel=1e-5)
    assert flow.training


def test_input_gradient_is_of_one_consumer_and_shared_layers_have_a_row_for_each_call(
    keras, measure
):
    import tensorflow as tf

    shared = keras.layers.Dense(3, name="shared", activation="sigmoid")

    def outputs(inputs):
        first = shared(inputs)
        second = shared(first)
        other = keras.layers.Dense(3, name="other")(first)
        return keras.layers.Add(name="add")([second, other])

    model = models.compiled(models.functional((3,), outputs))
    x, y = RNG.random((4, 3), np.float32), RNG.random((4, 3), np.float32)
    rows = by_path(measure(model, (x, y)).rows)
    with tf.GradientTape() as tape:
        middle = shared(tf.constant(x))
        to_shared, to_other = tf.identity(middle), tf.identity(middle)
        watched = [middle, to_shared, to_other]
        result = shared(to_shared) + model.get_layer("other")(to_other)
        loss = tf.reduce_mean((result - y) ** 2)
    at_middle, via_shared, via_other = eager_norms(loss, watched, tape)
    assert list(rows) == ["shared", "shared#2", "other", "add"]
    assert close(rows["shared"].output_gradient, at_middle)
    assert close(rows["shared#2"].input_gradient, via_shared)
    assert close(rows["other"].input_gradient, via_other)
    assert via_shared != pytest.approx(at_middle, rel=1e-2)


def test_subclassed_and_nested_agree_with_a_tape_on_the_variables(keras, measure):
    import tensorflow as tf

    class Block(keras.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.first = keras.layers.Dense(4, activation="relu", name="first")
            self.second = keras.layers.Dense(4, name="second")

        def call(self, x):
            return x + self.second(self.first(x))

    model = models.compiled(
        models.sequential(
            (4,), Block(name="a"), Block(name="b"), keras.layers.Dense(1, name="out")
        ),
    )
    x, y = RNG.random((6, 4), np.float32), RNG.random((6, 1), np.float32)
    flow = measure(model, (x, y))
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((model(x, training=True) - y) ** 2)
    norms = eager_norms(loss, [v.value for v in model.trainable_variables], tape)
    assert [v.norm for v in flow.variables] == pytest.approx(norms, rel=1e-5)
    rows = by_path(flow.rows)
    assert [(p, r.depth, r.leaf) for p, r in rows.items()][:3] == [
        ("a", 1, False),
        ("a/first", 2, True),
        ("a/second", 2, True),
    ]
    assert close(rows["b"].output_gradient, rows["out"].input_gradient)
    assert close(rows["b"].input_gradient, rows["a"].output_gradient)


@pytest.mark.filterwarnings("ignore:You are using a softmax")
def test_softmax_over_one_channel_has_a_zero_input_gradient(keras, measure):
    layers = keras.layers
    model = models.compiled(
        models.sequential(
            (3,),
            layers.Dense(1, name="last"),
            layers.Activation("softmax", name="head"),
        ),
        loss="mae",
    )
    flow = measure(model, (RNG.random((4, 3)), np.zeros((4, 1))))
    rows = by_path(flow.rows)
    assert rows["head"].output_gradient == pytest.approx(0.5)
    assert rows["head"].input_gradient == 0.0
    assert rows["last"].output_gradient == 0.0
    assert [v.norm for v in flow.variables] == [0.0, 0.0]
    assert [v.zero_share for v in flow.variables] == [1.0, 1.0]
    large = measure(model, (RNG.random((64, 3)), np.zeros((64, 1))))
    head = by_path(large.rows)["head"]
    # Vectorised, TensorFlow's softmax of one number may be 1 - 6e-8.
    assert head.input_gradient < 1e-6 * head.output_gradient


def test_a_stopped_gradient_is_none_not_zero(keras, measure):
    hidden, out = keras.layers.Dense(3, name="hidden"), keras.layers.Dense(1, name="out")
    model = models.functional((3,), lambda x: out(keras.ops.stop_gradient(hidden(x))))
    models.compiled(model)
    flow = measure(model, (RNG.random((4, 3)), RNG.random((4, 1))))
    rows = by_path(flow.rows)
    assert rows["op:StopGradient"].output_gradient > 0
    assert rows["op:StopGradient"].input_gradient is None
    assert rows["hidden"].output_gradient is None
    assert rows["hidden"].skipped is None
    variables = by_path(flow.variables)
    assert variables["hidden/kernel"].norm is None
    assert variables["out/kernel"].norm > 0


def test_the_input_gradient_of_a_raw_operation_is_of_its_use_alone(keras, measure):
    import tensorflow as tf

    def outputs(inputs):
        hidden = keras.layers.Dense(3, name="hidden")(inputs)
        return keras.ops.tanh(hidden) + 5.0 * hidden

    model = models.compiled(models.functional((3,), outputs))
    x, y = RNG.random((4, 3), np.float32), RNG.random((4, 3), np.float32)
    row = by_path(measure(model, (x, y)).rows)["op:Tanh"]
    h = model.get_layer("hidden")(x)
    with tf.GradientTape() as tape:
        own = tf.identity(h)
        tape.watch(own)
        loss = tf.reduce_mean((tf.tanh(own) + 5.0 * h - y) ** 2)
    assert close(row.input_gradient, eager_norms(loss, [own], tape)[0])


def test_cross_entropy_on_logits_is_no_cut_at_the_output_layer(keras, measure):
    head = keras.layers.Dense(3, activation="softmax", name="head")
    model = models.compiled(models.sequential((4,), head), loss="categorical_crossentropy")
    x, y = RNG.random((6, 4)), np.eye(3)[RNG.integers(0, 3, 6)]
    row = measure(model, (x, y)).rows[0]
    probabilities = model.predict(x, verbose=0)
    assert row.output_gradient == pytest.approx(np.linalg.norm(probabilities - y) / 6, rel=1e-4)
    assert row.input_gradient > 0


def test_integer_inputs_have_no_gradient_and_sparse_gradients_count_zeros(keras, measure):
    model = models.compiled(
        models.sequential((2,), keras.layers.Embedding(10, 3, name="embed"), dtype="int32"),
    )
    ids = np.array([[1, 1], [2, 1]])
    flow = measure(model, (ids, np.ones((2, 2, 3))))
    assert flow.rows[0].differentiable_input is False
    assert flow.rows[0].input_gradient is None
    assert flow.variables[0].zero_share == pytest.approx(0.8)
    table = model.layers[0].embeddings.numpy()
    gradient = np.zeros((10, 3))
    np.add.at(gradient, ids.ravel(), 2 * (table[ids] - 1).reshape(4, 3) / 12)
    assert flow.variables[0].norm == pytest.approx(np.linalg.norm(gradient), rel=1e-5)


def test_the_cell_inside_a_loop_is_skipped_and_its_layer_is_the_leaf(keras, measure):
    model = models.compiled(
        models.sequential(
            (5, 3),
            keras.layers.Bidirectional(keras.layers.LSTM(2, name="lstm"), name="both"),
            keras.layers.Dense(1, name="out"),
        ),
    )
    rows = by_path(measure(model, (RNG.random((4, 5, 3)), RNG.random((4, 1)))).rows)
    forward = rows["both/forward_lstm"]
    cell = rows["both/forward_lstm/lstm_cell"]
    assert forward.leaf
    assert forward.output_gradient > 0
    assert forward.input_gradient > 0
    assert cell.skipped is not None
    assert "loop" in cell.skipped
    assert not cell.leaf
    assert not any("#" in path for path in rows)


def test_layers_inside_a_custom_gradient_are_not_called_cut(keras, measure):
    import tensorflow as tf

    class Remat(keras.layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.inner = keras.layers.Dense(4, name="inner")

        def build(self, shape):
            self.inner.build(shape)

        def call(self, x):
            return tf.recompute_grad(self.inner)(x)

    model = models.compiled(
        models.sequential((4,), keras.layers.Dense(4, name="before"), Remat(name="r")),
    )
    rows = by_path(measure(model, (RNG.random((3, 4)), RNG.random((3, 4)))).rows)
    assert rows["r"].output_gradient > 0
    assert rows["before"].output_gradient > 0
    assert rows["before"].skipped is None
    assert rows["r/inner"].skipped is not None


def test_under_a_loss_scale_the_norms_are_unscaled(keras, measure, half):
    model = models.compiled(
        models.sequential(
            (4,),
            keras.layers.Dense(8, activation="tanh", name="hidden"),
            keras.layers.Dense(1, dtype="float32", name="out"),
        ),
    )
    x, y = RNG.random((4, 4), np.float32), RNG.random((4, 1), np.float32)
    tiny = measure(model, (x, y), loss=lambda t, p: 1e-6 * (t - p) ** 2)
    plain = measure(model, (x, y))
    huge = measure(model, (x, y), loss=lambda t, p: 1e4 * (t - p) ** 2)
    for a, b, c in zip(tiny.variables, plain.variables, huge.variables, strict=True):
        assert a.norm == pytest.approx(1e-6 * b.norm, rel=0.02)
        assert c.norm == pytest.approx(1e4 * b.norm, rel=0.02)
        assert c.nonfinite_share == 0
    assert huge.loss == pytest.approx(1e4 * plain.loss, rel=1e-3)


def test_without_a_loss_there_is_no_flow_and_the_reason_says_so(measure):
    from saldiag_probes.trace.errors import CannotMeasure

    model = models.dense(2, 1)
    with pytest.raises(CannotMeasure, match="not compiled"):
        measure(model, (np.ones((2, 2)), np.ones((2, 1))))
    given = measure(model, (np.ones((2, 2)), np.ones((2, 1))), loss=lambda t, p: (t - p) ** 2)
    assert given.rows[0].output_gradient > 0


def test_an_overridden_compute_loss_and_regularisation_count(keras, measure):
    class Own(keras.Model):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
            return 3.0 * keras.ops.mean(y_pred)

    out = keras.layers.Dense(1, name="out")
    model = models.compiled(models.functional((2,), out, base=Own))
    flow = measure(model, (np.ones((4, 2)), np.zeros((4, 1))))
    assert flow.rows[0].output_gradient == pytest.approx(3.0 * 0.5)
    penal = keras.layers.Dense(1, kernel_regularizer=keras.regularizers.L2(1.0))
    penalised = models.compiled(models.sequential((2,), penal))
    zero = (np.zeros((4, 2)), np.zeros((4, 1)))
    kernel = penal.kernel.numpy()
    flow = measure(penalised, zero)
    assert flow.variables[0].norm == pytest.approx(2 * np.linalg.norm(kernel), rel=1e-5)
    assert flow.loss == pytest.approx(float((kernel**2).sum()), rel=1e-5)


def test_several_inputs_outputs_and_weights(keras, measure):
    a, b = keras.Input((2,), name="a"), keras.Input((3,), name="b")
    joined = keras.layers.Concatenate(name="join")([a, b])
    outs = [keras.layers.Dense(1, name="one")(joined), keras.layers.Dense(2, name="two")(joined)]
    model = keras.Model({"a": a, "b": b}, outs)
    model.compile("sgd", ["mse", "mae"], loss_weights=[1.0, 0.0])
    x = {"a": RNG.random((4, 2)), "b": RNG.random((4, 3))}
    y = [RNG.random((4, 1)), RNG.random((4, 2))]
    rows = by_path(measure(model, (x, y)).rows)
    assert rows["one"].output_gradient > 0
    assert rows["two"].output_gradient == 0.0
    weighted = measure(model, (x, y, [np.zeros(4), np.ones(4)]))
    assert by_path(weighted.rows)["one"].output_gradient == 0.0


def test_nothing_of_the_model_or_of_keras_is_changed(keras, measure):
    layer_call = keras.layers.Layer.__call__
    model = models.compiled(models.mlp(4, 4), "adam", metrics=["mae"])
    batch = (RNG.random((8, 4), np.float32), RNG.random((8, 1), np.float32))
    model.fit(*batch, verbose=0)
    before = [v.numpy().tobytes() for v in (*model.variables, *model.optimizer.variables)]
    measure(model, batch)
    after = [v.numpy().tobytes() for v in (*model.variables, *model.optimizer.variables)]
    assert after == before
    assert keras.layers.Layer.__call__ is layer_call


def test_the_classes_are_put_back_when_the_model_fails(keras, measure):
    from saldiag_probes.trace.errors import CannotMeasure

    class Broken(keras.layers.Layer):
        def call(self, x, training=False):
            if training:
                raise RuntimeError("no such thing")
            return x

    layer_call = keras.layers.Layer.__call__
    model = models.compiled(models.sequential((2,), Broken()))
    with pytest.raises(CannotMeasure, match="no such thing"):
        measure(model, (np.ones((2, 2)), np.ones((2, 2))))
    assert keras.layers.Layer.__call__ is layer_call
