"""Each intervention on the smallest model that shows it; afterwards all is as it was."""

from __future__ import annotations

import random as python_random

import keras
import numpy as np
import pytest
from keras import layers
from keras.src.random.seed_generator import global_seed_generator

from saldiag.experiments.interventions.base import (
    NotApplicable,
    all_interventions,
    intervention_named,
)
from saldiag.experiments.search.lab import Lab
from saldiag.experiments.search.suspicion import interventions_for_words
from saldiag.selftest.program import build_chain
from saldiag_probes.survey import trace_only
from tests.support import models

pytestmark = [
    pytest.mark.tensorflow,
    pytest.mark.filterwarnings("ignore:.*softmax over axis:UserWarning"),
]

FORMS = ("sequential", "functional", "subclassed", "nested", "own_step")
random = np.random.default_rng(0)
X = random.normal(size=(12, 4)).astype("float32")
BINARY = (X[:, :1] > 0).astype("float32")
NUMBERS = X[:, :1] * 3 + 5
CLASSES = (np.arange(12) % 3).astype("int64")
NEVER_TRACED = ("best-rate",)
"""Those that train to find out what to change."""


class OwnStep(keras.Sequential):
    """Takes its step by code of its own, upwards if ``sign`` is -1."""

    sign = 1.0

    def train_step(self, data):
        import tensorflow as tf

        x, y = data[:2]
        with tf.GradientTape() as tape:
            loss = self.compute_loss(x, y, self(x, training=True)) * self.sign
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        return {"loss": loss}


def parts(last="sigmoid", units=1):
    return [
        layers.Dense(4, activation="relu", name="first"),
        layers.BatchNormalization(name="norm"),
        layers.Dropout(0.5, name="drop"),
        layers.Dense(units, activation=last, name="answer", kernel_regularizer="l2"),
    ]


def made(form, given=None, width=4):
    given = parts() if given is None else given
    if form == "own_step":
        return OwnStep([keras.Input((width,)), *given])
    model = build_chain(form, (width,), given)
    model(keras.ops.zeros((1, width)))
    return model


def compiled(model, loss="binary_crossentropy", optimizer=None):
    optimizer = optimizer or keras.optimizers.Adam(0.05, clipnorm=1e-6, weight_decay=1.0)
    model.compile(optimizer, loss, jit_compile=False)
    return model


def lab_of(model, *batches):
    batches = batches or ((X, BINARY),)
    return Lab(model, batches, trace_only(model, batches[0]).wiring)


def change_of(name, lab):
    return intervention_named(name)().change(lab)


def state(model):
    """Everything that an intervention could leave behind."""
    told = {}
    for number, layer in enumerate(model._flatten_layers()):
        kept = {k: id(v) for k, v in vars(layer).items() if k in ATTRIBUTES}
        told[number, layer.name] = {
            **kept,
            "own": sorted({"call", "train_step", "compute_loss"} & set(vars(layer))),
            "trainable": layer._trainable,
            "flags": [(v.trainable, id(v.regularizer)) for v in layer._trainable_variables],
        }
    return told


ATTRIBUTES = (
    "activation", "_dtype_policy", "momentum", "rate", "activity_regularizer", "optimizer",
    "_compile_loss", "_compile_metrics", "loss", "train_function", "stop_training",
)  # fmt: skip


def values(model):
    return [np.array(v) for v in (*model.variables, *model.optimizer.variables)]


def same(before, after):
    return len(before) == len(after) and all(
        np.array_equal(a, b, equal_nan=True) for a, b in zip(before, after, strict=True)
    )


def drawn_next():
    """What Keras' global generator and Python's would give, without taking it."""
    of_keras = np.array(global_seed_generator().state).tolist()  # made here, if there was none
    return of_keras, python_random.getstate()


class TestPutBack:
    @pytest.mark.parametrize("form", FORMS)
    def test_every_change_that_is_made_is_undone(self, form):
        model = compiled(made(form))
        lab = lab_of(model)
        with lab.open():
            before = state(model)
            applied = []
            for name in all_interventions():
                if name in NEVER_TRACED:
                    continue
                try:
                    change = change_of(name, lab)
                except NotApplicable:
                    continue
                with change.in_effect():
                    applied.append(name)
                    if change.swaps:
                        assert state(model) != before, name
                assert state(model) == before, name
        assert len(applied) > 10

    @pytest.mark.slow
    @pytest.mark.parametrize("form", FORMS)
    def test_trainings_leave_no_trace(self, form):
        model = compiled(made(form))
        model.optimizer.build(model.trainable_variables)
        keras.utils.set_random_seed(3)
        lab = lab_of(model)
        before, held, drawn = values(model), state(model), drawn_next()
        with lab.open():
            for name in ("fitting-loss", "unfreeze-all", "no-dropout", "reinitialised",
                         "default-settings", "right-sign", "head-only", "best-rate"):  # fmt: skip
                lab.run_arm((name,), (0,), 3)
        assert same(before, values(model))
        assert state(model) == held
        assert drawn_next() == drawn

    def test_an_arm_does_not_change_what_another_sees(self):
        model = compiled(made("sequential", parts()[:1] + parts()[3:]))
        lab = lab_of(model)
        with lab.open():
            first = lab.run_arm((), (0, 1), 4)
            lab.run_arm(("default-settings",), (0, 1), 4)
            assert lab.run_arm((), (0, 1), 4).curves == first.curves


class TestOutput:
    @pytest.mark.parametrize("form", ["sequential", "functional", "subclassed", "nested"])
    def test_softmax_over_one_unit_becomes_sigmoid(self, form):
        model = compiled(made(form, parts("softmax")[3:]))
        change = change_of("fitting-output", lab_of(model))
        place = "inner/answer" if form == "nested" else "answer"
        assert change.description == f"replacing softmax by sigmoid on {place}"
        assert change.layers == (place,)
        assert np.ptp(model(X).numpy()) < 1e-6
        with change.in_effect():
            assert np.ptp(model(X).numpy()) > 0.01

    def test_of_two_activations_one_is_left(self):
        model = compiled(made("sequential", [*parts()[3:], layers.Activation("softmax", name="s")]))
        change = change_of("fitting-output", lab_of(model))
        assert change.description == "replacing sigmoid and softmax by sigmoid on answer and s"
        single = change_of("single-activation", lab_of(model))
        assert single.layers == ("s",)

    @pytest.mark.parametrize(
        ("last", "units", "target", "loss"),
        [
            ("sigmoid", 1, BINARY, "mse"),
            ("softmax", 3, CLASSES, "sparse_categorical_crossentropy"),
            ("softmax", 2, BINARY, "sparse_categorical_crossentropy"),
            ("linear", 1, NUMBERS, "mse"),
            ("sigmoid", 1, BINARY * 255, "mse"),
            ("tanh", 1, BINARY * 2 - 1, "mse"),
            ("linear", 1, BINARY, keras.losses.BinaryCrossentropy(from_logits=True)),
        ],
    )
    def test_a_fitting_output_is_not_applicable(self, last, units, target, loss):
        model = compiled(made("sequential", parts(last, units)[3:]), loss)
        lab = lab_of(model, (X, target))
        with pytest.raises(NotApplicable, match="already fits"):
            change_of("fitting-output", lab)

    def test_batchnorm_before_the_activation_is_none_too_many(self):
        given = [*parts("linear")[3:], layers.BatchNormalization(), layers.Activation("sigmoid")]
        model = compiled(made("sequential", given))
        with pytest.raises(NotApplicable):
            change_of("single-activation", lab_of(model))

    def test_batchnorm_after_the_activation_is_removed(self):
        model = compiled(made("sequential", [*parts()[3:], layers.BatchNormalization(name="n")]))
        assert change_of("single-activation", lab_of(model)).layers == ("n",)


class TestLoss:
    @pytest.mark.parametrize(
        ("last", "units", "target", "loss", "wanted"),
        [
            ("softmax", 3, CLASSES, "mse", "sparse_categorical_crossentropy"),
            ("linear", 3, CLASSES, "mse", "sparse_categorical_crossentropy from logits"),
            ("softmax", 3, np.eye(3)[CLASSES], "mse", "categorical_crossentropy"),
            ("sigmoid", 1, BINARY, "categorical_crossentropy", "binary_crossentropy"),
            ("linear", 1, BINARY, "mse", "binary_crossentropy from logits"),
            ("linear", 1, NUMBERS, "mae", "mean_squared_error"),
            ("linear", 1, BINARY * 2 - 1, "mse", "hinge"),
        ],
    )
    def test_is_what_targets_and_output_imply(self, last, units, target, loss, wanted):
        model = compiled(made("sequential", parts(last, units)[3:]), loss)
        change = change_of("fitting-loss", lab_of(model, (X, target)))
        assert change.description.endswith(f" by {wanted}")

    def test_times_a_thousand_is_times_a_thousand(self):
        model = compiled(made("sequential", parts()[3:]))
        change = change_of("scaled-loss", lab_of(model))
        once = float(model.compute_loss(X, BINARY, model(X)))
        with change.in_effect():
            assert float(model.compute_loss(X, BINARY, model(X))) == pytest.approx(1000 * once)


class TestStep:
    def test_keras_step_repairs_one_that_climbs(self):
        model = compiled(made("own_step", parts()[3:]), optimizer=keras.optimizers.Adam(0.1))
        model.sign = -1.0
        lab = lab_of(model)
        with lab.open():
            own, keras_ = (lab.run_arm(names, (0,), 20) for names in ((), ("keras-step",)))
            turned = lab.run_arm(("right-sign",), (0,), 20)
        assert own.curves[0].score[-1] < 0
        assert keras_.curves[0].score[-1] > 0.2
        assert turned.curves[0].score[-1] > 0.2

    def test_a_new_optimizer_only_where_the_old_one_was_used(self):
        model = compiled(made("sequential"))
        lab = lab_of(model)
        with lab.open(), pytest.raises(NotApplicable, match="already new"):
            change_of("compiled-anew", lab)
        model.optimizer.build(model.trainable_variables)
        with lab.open():
            fresh = change_of("compiled-anew", lab).optimizer
        assert fresh is not model.optimizer
        assert fresh.get_config() == model.optimizer.get_config()

    def test_settings_go_back_to_their_defaults(self):
        change = change_of("default-settings", lab_of(compiled(made("sequential"))))
        assert (change.optimizer.clipnorm, change.optimizer.weight_decay) == (None, None)
        assert float(change.optimizer.learning_rate) == pytest.approx(0.05)

    def test_a_schedule_becomes_its_highest_rate(self):
        schedule = keras.optimizers.schedules.CosineDecay(0.01, 20)
        model = compiled(made("sequential"), optimizer=keras.optimizers.SGD(schedule))
        change = change_of("constant-rate", lab_of(model))
        assert float(change.optimizer.learning_rate) == pytest.approx(0.01)


class TestFrozen:
    def frozen(self, form):
        model = made(form)
        first = next(layer for layer in model._flatten_layers() if layer.name == "first")
        first.trainable = False
        return compiled(model)

    @pytest.mark.parametrize("form", ["sequential", "subclassed", "nested"])
    def test_all_are_trained_and_frozen_again(self, form):
        model = self.frozen(form)
        lab = lab_of(model)
        names = {v.path for v in model.trainable_variables}
        with lab.open():
            change = change_of("unfreeze-all", lab)
            assert [path.split("/")[-1] for path in change.layers] == ["first"]
            with change.in_effect():
                assert len(model.trainable_variables) == 6
        assert {v.path for v in model.trainable_variables} == names

    def test_only_the_head(self):
        model = compiled(made("nested"))
        lab = lab_of(model)
        with lab.open(), change_of("head-only", lab).in_effect():
            assert {v.path.split("/")[-2] for v in model.trainable_variables} == {"answer"}


class TestStarts:
    def test_dead_weights_are_reinitialised_from_the_seed(self):
        model = compiled(made("sequential"))
        model.layers[0].bias.assign([-20.0] * 4)
        lab = lab_of(model)
        drawn = []
        with lab.open():
            change = change_of("reinitialised", lab)
            for seed in (0, 0, 1):
                change.set_initial_state(seed)
                drawn.append(np.array(model.layers[0].kernel))
            assert not np.array(model.layers[0].bias).any()
        assert np.array_equal(drawn[0], drawn[1])
        assert not np.array_equal(drawn[0], drawn[2])
        assert (np.array(model.layers[0].bias) == -20).all()

    def test_the_bias_becomes_the_class_frequencies(self):
        model = compiled(made("sequential", parts()[3:]))
        rare = np.zeros((12, 1), "float32")
        rare[0] = 1
        lab = lab_of(model, (X, rare))
        with lab.open():
            change_of("initial-bias", lab).set_initial_state(0)
            assert 1 / (1 + np.exp(-float(model.layers[-1].bias[0]))) == pytest.approx(1 / 12)


class TestData:
    def fed(self, name, *batches, loss="binary_crossentropy", given=None):
        model = compiled(made("sequential", given or parts()[3:]), loss)
        lab = lab_of(model, *batches)
        return change_of(name, lab).transform_batches(lab.batches, 0)

    def test_inputs_get_mean_0_and_deviation_1(self):
        ((x, _),) = self.fed("normalised-inputs", (X * 300 + 900, BINARY))
        assert np.abs(x.mean(axis=0)).max() < 1e-4
        assert x.std(axis=0) == pytest.approx(np.ones(4), abs=1e-3)

    def test_masks_of_255_become_0_and_1(self):
        ((_, y),) = self.fed("targets-in-range", (X, BINARY * 255))
        assert set(np.unique(y)) == {0.0, 1.0}

    def test_labels_of_minus_one_become_0(self):
        logits = keras.losses.BinaryCrossentropy(from_logits=True)
        given = parts("linear")[3:]
        ((_, y),) = self.fed("targets-in-range", (X, BINARY * 2 - 1), loss=logits, given=given)
        assert np.array_equal(y, BINARY)

    def test_missing_numbers_become_the_mean_of_the_others(self):
        gaps = X.copy()
        gaps[0, 1] = np.nan
        ((x, _),) = self.fed("finite-data", (gaps, BINARY))
        assert x[0, 1] == pytest.approx(X[1:, 1].mean(), abs=1e-6)

    def test_mixed_batches_hold_the_same_items(self):
        order = np.argsort(BINARY[:, 0])
        x, y = X[order], BINARY[order]
        found = self.fed("mixed", (x[:6], y[:6]), (x[6:], y[6:]))
        assert 0 < found[0][1].mean() < 1
        whole = np.concatenate([batch[0] for batch in found])
        assert np.array_equal(np.sort(whole, axis=0), np.sort(X, axis=0))

    def test_random_labels_are_the_same_labels(self):
        ((x, y),) = self.fed("random-labels", (X, BINARY))
        assert np.array_equal(x, X)
        assert not np.array_equal(y, BINARY)
        assert y.sum() == BINARY.sum()

    def test_shifted_masks_go_back_to_their_pictures(self):
        from saldiag.selftest.program import mask_data

        x, y = mask_data(0, 16)
        given = [layers.Conv2D(1, 3, padding="same", activation="sigmoid")]
        model = compiled(models.sequential((16, 16, 3), *given))
        lab = lab_of(model, (x, np.roll(y, 1, axis=0)))
        ((_, found),) = change_of("repaired-pairs", lab).transform_batches(lab.batches, 0)
        assert np.mean([np.array_equal(a, b) for a, b in zip(found, y, strict=True)]) > 0.9
        with pytest.raises(NotApplicable, match="than their own"):
            change_of("repaired-pairs", lab_of(model, (x, y)))


class TestWords:
    @pytest.mark.parametrize(
        ("text", "names"),
        [
            ("the untrained expansion convolution ruins the features",
             {"unfreeze-all", "reinitialised"}),
            ("too much data", {"tenth", "one-batch"}),
            ("vanishing gradients", {"scaled-loss", "leaky-relu"}),
            ("the connections are wrong", {"fitting-output", "single-activation"}),
            ("a better loss function is needed", {"fitting-loss"}),
            ("SD207", {"default-settings"}),
        ],
    )  # fmt: skip
    def test_words_of_the_user_select_interventions(self, text, names):
        assert names <= set(interventions_for_words(text))

    @pytest.mark.parametrize("name", all_interventions())
    def test_each_has_a_hypothesis_and_documentation(self, name):
        kind = all_interventions()[name]
        assert kind.__doc__
        assert kind.states
        assert kind.states[0].islower() or kind.states.startswith(("ReLU", "BatchNorm"))
        assert not kind.states.endswith(".")
        assert kind.answers or kind.words
