"""Facts of the data, baselines, and the loss recomputed from plain predictions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import models

pytestmark = pytest.mark.tensorflow
RNG = np.random.default_rng(5)


def dense(keras, loss, units=1, activation=None, inputs=4):
    return models.compiled(models.dense(inputs, units, activation), "sgd", loss)


def with_own_loss(keras, layer, loss):
    """A compiled model whose ``compute_loss`` is ``loss`` of its predictions."""

    class Own(keras.Model):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
            return loss(y_pred)

    return models.compiled(models.functional((4,), layer, base=Own), loss=None)


class TestFacts:
    @given(seed=st.integers(0, 2**16), sizes=st.lists(st.integers(1, 5), min_size=1, max_size=4))
    @settings(max_examples=20, deadline=None)
    def test_batch_by_batch_is_the_same_as_all_at_once(self, seed, sizes):
        from saldiag_probes.data.tensor_statistics import _RunningStatistics

        rng = np.random.default_rng(seed)
        parts = [rng.normal(3, 2, (size, 2, 3)) for size in sizes]
        facts = _RunningStatistics("x")
        for part in parts:
            facts.add_tensor(part)
        found, everything = facts.tensor_facts(), np.concatenate(parts)
        assert found.mean == pytest.approx(everything.mean())
        assert found.std == pytest.approx(everything.std())
        assert (found.minimum, found.maximum) == (everything.min(), everything.max())
        assert found.distinct == everything.size
        if len(everything) > 1:
            variation = everything.std(axis=0).mean() / everything.std()
            assert found.sample_variation == pytest.approx(variation)
        else:
            assert np.isnan(found.sample_variation)

    def test_nan_inf_text_and_sizes_that_differ(self):
        from saldiag_probes.data.tensor_statistics import _RunningStatistics

        facts = _RunningStatistics("x")
        facts.add_tensor(np.array([[1.0, np.nan], [3.0, np.inf]]))
        found = facts.tensor_facts()
        assert (found.nan_share, found.minimum, found.maximum) == (0.25, 1.0, np.inf)
        assert found.mean == 2.0
        facts.add_tensor(np.zeros((2, 5)))
        found = facts.tensor_facts()
        assert found.shape == (None, None)
        assert np.isnan(found.sample_variation)

    def test_text_has_no_nan(self):
        import tensorflow as tf

        from saldiag_probes.data.tensor_statistics import _RunningStatistics

        facts = _RunningStatistics("x")
        facts.add_tensor(tf.constant([["normal"], ["fixed"]]))
        found = facts.tensor_facts()
        assert (found.dtype, found.nan_share) == ("string", 0.0)
        assert np.isnan([found.minimum, found.mean, found.std, found.sample_variation]).all()
        assert found.distinct == 0

    @pytest.mark.parametrize("text", [["a", "b", "b"], ["a", "a", "a"]])
    def test_text_inputs_are_not_judged_as_numbers(self, keras, text):
        import tensorflow as tf

        from saldiag.core.measurement import Measurements
        from saldiag.rules.engine.engine import diagnose
        from saldiag_probes.data.tensor_statistics import measure_data

        lookup = keras.layers.StringLookup(vocabulary=["a", "b"])
        model = keras.Sequential(
            [
                keras.Input((1,), dtype="string"),
                lookup,
                keras.layers.Embedding(3, 2),
                keras.layers.Flatten(),
                keras.layers.Dense(1),
            ]
        )
        model.compile("sgd", "mse")
        x, y = tf.constant(text)[:, None], tf.constant([[0.0], [1.0], [2.0]])
        facts = measure_data(model, [(x, y)])
        assert facts.inputs[0].dtype == "string"
        diagnosis = diagnose(Measurements.of(facts), verdict="not_tested", select=["SD6"])
        assert diagnosis.findings == ()

    @pytest.mark.parametrize(
        ("rows", "single"),
        [([[0, -2.5, 0], [1.5, 0, 0], [0, 0, 0]], True), ([[1, 1, 0]], False), ([[1], [0]], False)],
    )
    def test_one_value_among_zeros(self, rows, single):
        from saldiag_probes.data.tensor_statistics import _RunningStatistics

        facts = _RunningStatistics("y")
        facts.add_tensor(np.array(rows, "float32"))
        assert facts.tensor_facts().single == single

    def test_tensors_are_named_and_only_the_first_batches_are_read(self, keras):
        from saldiag_probes.data.tensor_statistics import measure_data

        a, b = keras.Input((2,), name="a"), keras.Input((3,), name="b", dtype="int32")
        both = keras.layers.Concatenate()([a, keras.ops.cast(b, "float32")])
        model = keras.Model({"a": a, "b": b}, keras.layers.Dense(1)(both))
        seen = []

        def batches():
            for i in range(100):
                seen.append(i)
                yield {"a": np.full((4, 2), i), "b": np.ones((4, 3), np.int32)}, np.ones((4, 1))

        found = measure_data(model, batches(), max_batches=3, expected_range=(-1.0, 1.0))
        assert len(seen) == 3
        assert found.samples == 12
        assert [facts.name for facts in found.inputs] == ["input/a", "input/b"]
        assert found.inputs[0].maximum == 2.0
        assert found.inputs[1].dtype == "int32"
        assert found.targets[0].sample_variation == 0.0
        assert found.predictions[0].shape == (None, 1)
        assert found.expected_range == (-1.0, 1.0)
        assert found.no_baselines == "the model is not compiled with a loss"

    def test_no_batch_and_a_batch_that_does_not_fit(self, keras):
        from saldiag_probes.data.tensor_statistics import measure_data
        from saldiag_probes.trace.errors import CannotMeasure

        model = dense(keras, "mse")
        with pytest.raises(CannotMeasure, match="no batch"):
            measure_data(model, [])
        with pytest.raises(CannotMeasure, match="cannot be called"):
            measure_data(model, [(np.ones((2, 9)), np.ones((2, 1)))])

    def test_predictions_can_be_handed_in(self, keras):
        from saldiag_probes.data.tensor_statistics import measure_data

        batch = (np.ones((2, 4)), np.ones((2, 1)))
        found = measure_data(dense(keras, "mse"), [batch], predictions=lambda x: x[:, :1] * 7)
        assert found.predictions[0].mean == 7.0


class TestBaselines:
    def baselines(self, model, *batches):
        from saldiag_probes.data.tensor_statistics import measure_data

        found = measure_data(model, batches)
        return found.baselines, found.no_baselines

    def test_the_constant_is_the_median_for_absolute_and_the_mean_for_squared_error(self, keras):
        y = RNG.exponential(1.0, (9, 3))
        x = RNG.random((9, 4))
        halves = ((x[:5], y[:5]), (x[5:], y[5:]))
        absolute, _ = self.baselines(dense(keras, "mae", 3), *halves)
        assert absolute.constant_value == pytest.approx(np.median(y), rel=1e-5)
        assert absolute.constant == pytest.approx(np.abs(y - np.median(y)).mean(), rel=1e-5)
        fixed = np.abs(y - np.median(y, axis=0)).mean()
        assert absolute.independent == pytest.approx(fixed, rel=1e-5)
        assert (absolute.independent_kind, absolute.metric) == ("median", "mean_absolute_error")
        squared, _ = self.baselines(dense(keras, "mse", 3), *halves)
        assert squared.constant == pytest.approx(y.var(), rel=1e-5)
        assert squared.independent == pytest.approx(y.var(axis=0).mean(), rel=1e-5)

    @pytest.mark.parametrize("from_logits", [False, True])
    def test_cross_entropies_in_probabilities_and_in_logits(self, keras, from_logits):
        x, y = RNG.random((10, 4)), np.array([1.0] * 3 + [0.0] * 7)[:, None]
        entropy = -(0.3 * np.log(0.3) + 0.7 * np.log(0.7))
        binary = keras.losses.BinaryCrossentropy(from_logits=from_logits)
        found, _ = self.baselines(dense(keras, binary), (x, y))
        assert found.constant == pytest.approx(entropy, rel=1e-4)
        assert found.constant_value == pytest.approx(0.3)
        labels = np.array([0] * 3 + [1] * 7)
        sparse = keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits)
        found, _ = self.baselines(dense(keras, sparse, 3), (x, labels))
        assert found.constant == pytest.approx(np.log(3), rel=1e-4)
        assert found.independent == pytest.approx(entropy, rel=1e-4)
        assert found.independent_kind == "frequencies"

    def test_why_there_are_none(self, keras):
        x = RNG.random((4, 4))
        shapes = self.baselines(dense(keras, "mse", 3), (x, np.ones((4, 5))))
        assert "shape" in shapes[1]
        nan = self.baselines(dense(keras, "mse"), (x, np.full((4, 1), np.nan)))
        assert "non-finite" in nan[1]
        labels = self.baselines(
            dense(keras, "sparse_categorical_crossentropy", 3), (x, np.array([0, 1, 2, 3]))
        )
        assert "outside the classes 0 to 2" in labels[1]
        none = self.baselines(dense(keras, "mse"), x)
        assert "missing" in none[1]

        def picky(y, p):
            raise TypeError("only for training")

        broken = self.baselines(dense(keras, picky), (x, np.ones((4, 1))))
        assert broken == (None, "the loss cannot be evaluated: only for training")

        own = with_own_loss(keras, keras.layers.Dense(1), keras.ops.mean)
        assert "overrides compute_loss" in self.baselines(own, (x, np.ones((4, 1))))[1]

    def test_pictures_of_several_sizes_have_a_constant_but_no_mean_picture(self, keras):
        model = models.sequential((None, None, 1), keras.layers.Conv2D(1, 1))
        model.compile("sgd", "mae")
        batches = [(np.ones((1, s, s, 1)), np.zeros((1, s, s, 1))) for s in (2, 3)]
        found, _ = self.baselines(model, *batches)
        assert (found.constant, found.independent_kind) == (0.0, "none")
        assert np.isnan(found.independent)


class TestLossCheck:
    @pytest.mark.filterwarnings("ignore:You are using a softmax")
    def test_the_recomputed_loss_shows_a_softmax_over_one_channel_under_cross_entropy(self, keras):
        from saldiag_probes.loss.recomputed_loss import measure_loss_check

        keras.utils.set_random_seed(0)  # from some starts 30 epochs are not enough
        model = models.sequential(
            (8, 8, 3),
            keras.layers.Conv2D(1, 3, padding="same", name="conv"),
            keras.layers.Activation("softmax"),
        )
        model.compile("sgd", "binary_crossentropy")
        x, y = RNG.random((4, 8, 8, 3), np.float32), np.zeros((4, 8, 8, 1), np.float32)
        y[:, :4] = 1
        model.fit(x, y, epochs=30, verbose=0)
        found = measure_loss_check(model, (x, y))
        assert found.loss == "binary_crossentropy"
        assert found.reported == pytest.approx(model.evaluate(x, y, verbose=0), rel=1e-5)
        assert found.reported < 0.75
        assert found.recomputed == pytest.approx(8.0, abs=0.1)
        assert found.recomputed_training == found.recomputed

    def test_a_sound_output_layer_agrees_with_weights_and_regularisation(self, keras):
        from saldiag_probes.loss.recomputed_loss import measure_loss_check

        model = models.sequential(
            (4,),
            keras.layers.Dense(8, kernel_regularizer="l2", activity_regularizer="l1"),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(3, activation="softmax"),
        )
        model.compile("sgd", "sparse_categorical_crossentropy")
        batch = (RNG.random((8, 4)), RNG.integers(0, 3, 8), RNG.random(8))
        before = [v.numpy().tobytes() for v in model.variables]
        found = measure_loss_check(model, batch)
        assert [v.numpy().tobytes() for v in model.variables] == before
        assert found.regularization > 0
        assert found.recomputed + found.regularization == pytest.approx(found.reported, rel=1e-4)
        evaluated = model.evaluate(batch[0], batch[1], sample_weight=batch[2], verbose=0)
        assert found.reported == pytest.approx(evaluated, rel=1e-5)
        assert found.reported_training != pytest.approx(found.reported, rel=1e-3)
        plain = measure_loss_check(model, batch, model.predict(batch[0], verbose=0))
        assert plain.recomputed == pytest.approx(found.recomputed, rel=1e-5)
        other = measure_loss_check(model, batch, np.full((8, 3), 1 / 3))
        assert other.recomputed == pytest.approx(np.log(3) * batch[2].mean(), rel=1e-4)

    def test_a_mask_reaches_both(self, keras):
        from saldiag_probes.loss.recomputed_loss import measure_loss_check

        model = models.sequential((3, 2), keras.layers.Masking(), keras.layers.Dense(1))
        model.compile("sgd", "mse")
        x = RNG.random((4, 3, 2))
        x[:, 2] = 0
        y = np.ones((4, 3, 1))
        y[:, 2] = 1e6
        found = measure_loss_check(model, (x, y))
        assert found.reported < 100
        assert found.recomputed == pytest.approx(found.reported)

    def test_several_outputs_and_an_overridden_compute_loss(self, keras):
        from saldiag_probes.loss.recomputed_loss import measure_loss_check

        outputs = keras.layers.Dense(1), keras.layers.Dense(2)
        model = models.functional((4,), lambda x: [output(x) for output in outputs])
        model.compile("sgd", ["mse", "mae"], loss_weights=[1.0, 2.0])
        batch = (RNG.random((8, 4)), [np.ones((8, 1)), np.ones((8, 2))])
        found = measure_loss_check(model, batch)
        assert found.recomputed == pytest.approx(found.reported)
        assert found.loss == "mean_squared_error+mean_absolute_error"

        penalised = keras.layers.Dense(1, kernel_regularizer="l2")
        own = with_own_loss(keras, penalised, lambda y: keras.ops.sum(y) * 0 + 4.0)
        found = measure_loss_check(own, (RNG.random((8, 4)), np.ones((8, 1))))
        assert (found.reported, found.recomputed, found.regularization) == (4.0, 4.0, 0.0)

    def test_shifting_the_targets_changes_the_loss_unless_it_broadcasts(self, keras):
        from saldiag_probes.loss.recomputed_loss import aligned_and_shifted_losses

        class Squares(keras.losses.Loss):
            def call(self, y_true, y_pred):
                return keras.ops.square(y_true - y_pred)

        x, y = RNG.random((8, 4)).astype("float32"), RNG.random(8).astype("float32")
        model = dense(keras, Squares(), 1)
        predicted = model.predict(x, verbose=0)
        first, second = aligned_and_shifted_losses(model, (x, y), predicted)
        assert first == pytest.approx(second, rel=1e-6)
        assert np.isnan(aligned_and_shifted_losses(model, (x, y[:, None]), predicted)).all()
        first, second = aligned_and_shifted_losses(dense(keras, "mse", 1), (x, y), predicted)
        assert first != pytest.approx(second, rel=1e-3)

    def test_why_it_cannot_be_measured(self, keras):
        from saldiag_probes.loss.recomputed_loss import measure_loss_check
        from saldiag_probes.trace.errors import CannotMeasure

        x = RNG.random((4, 4))
        with pytest.raises(CannotMeasure, match="not compiled"):
            measure_loss_check(keras.Sequential([keras.layers.Dense(1)]), (x, x))
        with pytest.raises(CannotMeasure, match="the loss cannot be computed"):
            measure_loss_check(dense(keras, "mse", 3), (x, np.ones((4, 7))))


def test_columns_of_a_table_that_never_change(keras):
    from saldiag_probes.data.tensor_statistics import measure_data

    def constant(x):
        model = models.sequential(x.shape[1:], keras.layers.Dense(1))
        batches = [(x[:4], np.zeros((4, 1))), (x[4:], np.zeros((4, 1)))]
        return measure_data(model, batches).inputs[0].constant

    table = np.random.default_rng(0).normal(size=(8, 5)).astype("float32")
    assert constant(table) == ()
    table[:, 1], table[:4, 2], table[4:, 2] = 0.0, 1.0, 2.0
    table[:, 3] = np.nan
    assert constant(table) == (1,)
    assert constant(np.ones((8, 2), "int64")) is None
    assert constant(np.zeros((8, 4, 3), "float32")) is None
