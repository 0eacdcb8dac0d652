"""One trace for all: wiring, dtypes, activations, and what is said where one is missing."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support import models

pytestmark = pytest.mark.tensorflow
RNG = np.random.default_rng(11)


@pytest.fixture(scope="module")
def survey():
    from saldiag_probes.survey import survey

    return survey


def by_path(rows):
    return {row.path: row for row in rows}


def calling(function):
    """A model of one layer that calls ``function``, a Python function, when its graph runs."""
    import keras
    import tensorflow as tf

    def call(x):
        return tf.ensure_shape(tf.py_function(function, [x], tf.float32), (None, 2))

    return models.sequential((2,), keras.layers.Lambda(call, output_shape=(2,)))


class TestWiring:
    def test_dataflow_looks_through_raw_operations_and_names_those_that_matter(self, keras, survey):
        class Net(keras.Model):
            def __init__(self):
                super().__init__()
                self.a = keras.layers.Dense(4, name="a")
                self.twins = [keras.layers.Dense(4, name="t"), keras.layers.Dense(4, name="t")]
                self.embed = keras.layers.Embedding(10, 4, name="embed")

            def call(self, x):
                words = keras.ops.mean(self.embed(x["ids"]), axis=1)
                h = keras.ops.sigmoid(self.a(x["f"]))
                for twin in self.twins:
                    h = twin(h) * 2.0 + words
                return keras.ops.softmax(h)

        batch = {"ids": RNG.integers(0, 10, (3, 5)), "f": RNG.random((3, 4))}
        wiring = survey(Net(), batch, flow=False, activations=False).wiring
        calls = by_path(wiring.calls)
        assert list(calls) == ["embed", "a", "op:Sigmoid", "t", "t~2", "op:Softmax"]
        assert calls["embed"].inputs == calls["a"].inputs == ("",)
        assert calls["op:Sigmoid"].inputs == ("a",)
        assert calls["t"].inputs == ("op:Sigmoid",)
        assert set(calls["t~2"].inputs) == {"t", "embed"}
        assert wiring.outputs == ("op:Softmax",)
        assert (calls["op:Softmax"].activation, calls["op:Softmax"].axis) == ("softmax", 1)
        assert calls["op:Sigmoid"].kind == "op"
        assert calls["a"].input_shapes == ((None, 4),)
        assert wiring.loss == "none"
        assert wiring.optimizer == "none"
        assert np.isnan(wiring.learning_rate)

    @pytest.mark.filterwarnings("ignore:`build")
    def test_what_is_never_called_is_listed_at_its_outermost(self, keras, survey):
        layers = keras.layers

        class Net(keras.Model):
            def __init__(self):
                super().__init__()
                self.a = layers.Dense(4, name="a")
                self.spare = layers.Dense(2, name="spare")
                self.block = keras.Sequential([layers.Dense(2), layers.ReLU()], name="block")
                self.reader = layers.Bidirectional(layers.LSTM(2), name="reader")

            def call(self, x):
                return keras.ops.sin(self.reader(self.a(x)))

        class Own(Net):
            def train_step(self, data):
                return {}

        wiring = survey(Net(), RNG.random((3, 5, 4)), flow=False, activations=False).wiring
        assert [layer.path for layer in wiring.uncalled] == ["spare", "block"]
        spare, block = wiring.uncalled
        assert (spare.kinds, spare.built, spare.parameters) == (("Dense",), False, 0)
        assert "Dense" in block.kinds
        assert "Sin" in wiring.operations
        assert not wiring.own_training
        own = survey(Own(), RNG.random((3, 5, 4)), flow=False, activations=False).wiring
        assert own.own_training

    @pytest.mark.filterwarnings("ignore:You are using a softmax")
    def test_a_call_records_activation_config_and_shapes(self, keras, survey):
        layers = keras.layers

        def swish_like(x):
            return x * keras.ops.sigmoid(x)

        model = models.sequential(
            (8, 8, 3),
            layers.Conv2D(4, 3, strides=2, padding="same", activation=swish_like, name="conv"),
            layers.ReLU(6.0, name="relu"),
            layers.DepthwiseConv2D(1, name="dw"),
            layers.Softmax(axis=1, name="rows"),
            layers.Conv2D(1, 1, activation="softmax", name="head"),
            layers.Lambda(keras.ops.tanh, name="lam"),
        )
        model.compile(
            keras.optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(0.5, 10, 0.1)),
            keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=0.1),
        )
        found = survey(model, np.zeros((2, 8, 8, 3)), flow=False, activations=False).wiring
        calls = by_path(found.calls)
        assert calls["conv"].activation == "swish_like"
        assert calls["conv"].config["strides"] == [2, 2]
        assert calls["conv"].config["padding"] == "same"
        assert calls["conv"].output_shapes == ((None, 4, 4, 4),)
        assert calls["conv"].parameters == 3 * 3 * 3 * 4 + 4
        assert calls["relu"].activation == "relu6"
        assert calls["dw"].activation is None
        assert (calls["rows"].activation, calls["rows"].axis) == ("softmax", 1)
        assert (calls["head"].activation, calls["head"].axis) == ("softmax", 3)
        assert calls["lam"].activation == "tanh"
        assert found.loss == "binary_crossentropy"
        assert found.loss_config["from_logits"] is True
        assert found.loss_config["label_smoothing"] == 0.1
        assert (found.optimizer, found.loss_scaled) == ("Adam", False)
        assert found.learning_rate == pytest.approx(0.5)
        assert found.trainable_parameters == found.parameters == model.count_params()

    def test_sources_origins_and_hostile_names_are_passed_on(self, keras, survey):
        from saldiag.core.measurement import Origin, Source

        layer = keras.layers.Dense(1, name="..>onerror_alert.1")
        model = models.sequential((2,), layer)
        origin = Origin("x", "net", None, copied=False)
        found = survey(
            model,
            np.ones((2, 2)),
            flow=False,
            activations=False,
            sources={id(layer): Source("model.py", 3)},
            origins=[origin],
        ).wiring
        assert found.calls[0].source == Source("model.py", 3)
        assert found.calls[0].path == "..>onerror_alert.1"
        assert found.origins == (origin,)

    def test_the_names_of_losses(self, keras):
        from saldiag_probes.loss.compiled_loss import loss_name

        def mine(y, p):
            return keras.ops.mean(y - p)

        model = models.dense(2, 1)
        names = {}
        for loss in ("mae", mine, keras.losses.Huber(), keras.losses.Dice()):
            model.compile("sgd", loss)
            names[str(loss)] = loss_name(model)
        assert list(names.values()) == ["mean_absolute_error", "custom:mine", "huber", "dice"]

    def test_a_ragged_input_and_attention_are_followed(self, keras, survey):
        attention = keras.layers.MultiHeadAttention(2, 4, name="mha")
        times = keras.layers.TimeDistributed(keras.layers.Dense(3), name="td")
        model = models.functional((6, 8), lambda x: times(attention(x, x)))
        model.compile("sgd", "mse")
        found = survey(model, (RNG.random((4, 6, 8)), RNG.random((4, 6, 3))))
        calls = by_path(found.wiring.calls)
        assert not calls["mha"].leaf
        assert calls["mha/op:Softmax"].inputs == ("mha/query", "mha/key")
        assert calls["td"].inputs == ("mha/attention_output",)
        flow = by_path(found.flow.rows)
        assert 0 < flow["mha/query"].input_gradient < flow["mha"].input_gradient


class TestDtypes:
    def test_real_dtypes_and_casts_by_tracing(self, keras, half):
        from saldiag_probes.survey import measure_dtypes

        model = models.sequential(
            (4,),
            keras.layers.Dense(8, name="hidden"),
            keras.layers.Activation("relu", dtype="float32", name="island"),
            keras.layers.Dense(2, name="out"),
        )
        model.compile("adam", "mse")
        found = measure_dtypes(model, (keras.KerasTensor((5, 4)), keras.KerasTensor((5, 2))))
        rows = by_path(found.rows)
        assert found.policy == "mixed_float16"
        assert (rows["hidden"].compute, rows["hidden"].variable) == ("float16", "float32")
        assert rows["hidden"].outputs == ("float16",)
        assert rows["island"].outputs == ("float32",)
        assert found.output_dtypes == ("float16",)
        assert found.loss_dtype == "float32"
        casts = {(c.path, c.before, c.after): (c.elements, c.size) for c in found.casts}
        assert casts[("hidden/kernel", "float32", "float16")] == (32, 64)
        assert casts[("hidden", "float32", "float16")] == (20, 40)
        assert casts[("island", "float16", "float32")] == (40, 160)
        assert casts[("out", "float32", "float16")] == (40, 80)

    def test_the_model_is_traced_and_not_run(self):
        import tensorflow as tf

        from saldiag_probes.survey import measure_dtypes

        def explode(x):
            raise AssertionError("executed")

        found = measure_dtypes(calling(explode), tf.TensorSpec([3, 2]))
        assert found.rows[0].outputs == ("float32",)
        assert (found.casts, found.loss_dtype, found.batch_size) == ((), None, 3)


class TestActivations:
    def test_the_numbers_are_numpy_s(self, keras):
        from saldiag_probes.survey import measure_activations

        model = models.sequential(
            (5, 3),
            keras.layers.Dense(6, activation="relu", name="relu"),
            keras.layers.Dense(4, activation="tanh", name="tanh"),
        )
        bias = np.array([0, 0, 0, 0, -99, -99], np.float32)
        model.layers[0].bias.assign(bias)
        model.layers[1].kernel.assign(model.layers[1].kernel * 20)
        x = RNG.standard_normal((7, 5, 3)).astype(np.float32)
        relu, tanh = measure_activations(model, x).rows
        h = np.asarray(model.layers[0](x))
        t = np.asarray(model.layers[1](h))
        assert relu.mean == pytest.approx(h.mean(), rel=1e-5)
        assert relu.std == pytest.approx(h.std(), rel=1e-5)
        assert (relu.minimum, relu.maximum) == pytest.approx((h.min(), h.max()))
        assert relu.zero_share == pytest.approx((h == 0).mean())
        assert relu.dead_share == pytest.approx(2 / 6)
        assert np.isnan(relu.saturated_share)
        assert tanh.saturated_share == pytest.approx((np.abs(t) >= 0.98).mean(), abs=1e-3)
        assert tanh.saturated_share > 0.1
        assert tanh.sample_variation == pytest.approx(t.std(axis=0).mean() / t.std(), rel=1e-4)
        assert tanh.nonfinite_share == 0

    def test_constants_infinities_and_lone_samples(self, keras):
        from saldiag_probes.survey import measure_activations

        model = models.sequential(
            (2,),
            keras.layers.Lambda(lambda x: x * 0 + 3.0, name="constant"),
            keras.layers.Lambda(lambda x: x / 0.0, name="infinite"),
        )
        constant, infinite = measure_activations(model, np.ones((4, 2))).rows
        assert (constant.mean, constant.std, constant.sample_variation) == (3.0, 0.0, 0.0)
        assert infinite.nonfinite_share == 1.0
        assert np.isnan(infinite.minimum)
        lone = measure_activations(model, np.ones((1, 2))).rows[0]
        assert np.isnan(lone.sample_variation)

    def test_the_mode_is_the_requested_one(self, keras):
        from saldiag_probes.survey import measure_activations

        model = models.sequential((50,), keras.layers.Dropout(0.5, name="drop"))
        x = np.ones((4, 50))
        assert measure_activations(model, x).rows[0].zero_share == 0.0
        assert 0.3 < measure_activations(model, x, training=True).rows[0].zero_share < 0.7

    def test_a_large_output_whose_sum_overflows_is_finite(self, keras):
        from saldiag_probes.signal.activations import MAX_SAMPLED_VALUES
        from saldiag_probes.survey import measure_activations

        model = models.sequential((MAX_SAMPLED_VALUES,), keras.layers.Activation("linear"))
        x = np.full((2, MAX_SAMPLED_VALUES), 3e38, "float32")
        assert measure_activations(model, x).rows[0].nonfinite_share == 0

    def test_half_precision_is_summed_in_float32(self, keras):
        from saldiag_probes.signal.activations import MAX_SAMPLED_VALUES
        from saldiag_probes.survey import measure_activations

        layer = keras.layers.Activation("linear", dtype="float16")
        x = np.full((2, MAX_SAMPLED_VALUES), 1000.0, "float16")
        model = models.sequential((MAX_SAMPLED_VALUES,), layer, dtype="float16")
        assert measure_activations(model, x).rows[0].nonfinite_share == 0

    def test_an_output_of_unknown_shape_is_measured(self, keras):
        from saldiag_probes.signal.activations import MAX_SAMPLED_VALUES
        from saldiag_probes.survey import measure_activations

        class Chosen(keras.layers.Layer):
            def call(self, x):
                import tensorflow as tf

                return tf.boolean_mask(x, x[:, 0] > 0)

        model = models.sequential((MAX_SAMPLED_VALUES,), Chosen(), keras.layers.ReLU())
        x = np.full((4, MAX_SAMPLED_VALUES), 2.0, "float32")
        x[0, 0], x[1, 5] = -1.0, np.inf
        row = {row.kind: row for row in measure_activations(model, x).rows}["Chosen"]
        assert row.mean == pytest.approx(2.0)
        assert 0 < row.nonfinite_share < 1e-4

    def test_a_large_output_is_sampled_and_its_one_infinity_counted(self, keras):
        from saldiag_probes.signal.activations import MAX_SAMPLED_VALUES
        from saldiag_probes.survey import measure_activations

        model = models.sequential((300, 300, 8), keras.layers.ReLU(name="relu"))
        x = RNG.standard_normal((3, 300, 300, 8)).astype(np.float32)
        x[..., 2] = -1.0
        x[2, 0, 1, 5] = np.inf
        assert x.size > MAX_SAMPLED_VALUES
        row = measure_activations(model, x).rows[0]
        h = np.maximum(x[np.isfinite(x)], 0)
        assert (row.minimum, row.maximum) == (0.0, pytest.approx(h.max(), rel=0.2))
        assert row.nonfinite_share == pytest.approx(1 / x.size)
        assert row.dead_share == pytest.approx(1 / 8)
        assert row.mean == pytest.approx(h.mean(), rel=0.01)
        assert row.std == pytest.approx(h.std(), rel=0.02)
        assert row.zero_share == pytest.approx((h == 0).mean(), rel=0.01)


class TestMissing:
    def test_a_failed_measurement_is_missing_with_its_reason(self, survey):

        def explode(x):
            raise ValueError("the disk is on fire")

        model = models.compiled(calling(explode))
        found = survey(model, (np.ones((2, 2)), np.ones((2, 2))))
        assert found.flow is None
        assert found.activations is None
        assert "the disk is on fire" in found.missing["flow"]
        assert "the disk is on fire" in found.missing["activations"]
        assert len(found.wiring.calls) == 1

    def test_a_loss_that_does_not_fit_leaves_the_rest(self, survey):
        model = models.compiled(models.dense(2, 3), "sgd", "mse")
        found = survey(model, (np.ones((2, 2)), np.ones((2, 7))))
        assert found.flow is None
        assert "the loss cannot be computed" in found.missing["flow"]
        assert found.activations is not None
        assert np.isnan(found.loss)

    def test_a_model_that_cannot_be_called_says_why_in_one_line(self, survey):
        from saldiag_probes.trace.errors import CannotMeasure

        model = models.dense(2, 3)
        with pytest.raises(CannotMeasure, match="cannot be called") as caught:
            survey(model, np.ones((2, 7)))
        assert "\n" not in caught.value.reason
        assert "\x1b" not in caught.value.reason


@pytest.mark.slow
def test_the_survey_of_a_deep_model_stays_linear(keras, survey):
    def cost(depth):
        import time

        layers = [keras.layers.Dense(2, activation="relu") for _ in range(depth)]
        model = models.compiled(models.sequential((2,), *layers), "sgd", "mse")
        start = time.process_time()
        found = survey(model, (np.ones((2, 2)), np.ones((2, 2))))
        assert len(found.flow.rows) == depth
        return time.process_time() - start

    cost(20)
    assert cost(400) < 8 * cost(100)
