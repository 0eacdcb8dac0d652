"""Unit tests for models: what passes, what fails and with which words; the model stays as it is."""

from __future__ import annotations

import pytest

from saldiag.core.errors import SaldiagError
from saldiag.testing import (
    assert_gradients_flow,
    assert_learns,
    assert_no_findings,
    assert_trainable,
)
from tests.support import models

pytestmark = [
    pytest.mark.slow,
    pytest.mark.tensorflow,
    # Keras says it of the fault that is seeded here.
    pytest.mark.filterwarnings("ignore:You are using a softmax over axis:UserWarning"),
]

FORMS = ("sequential", "functional", "subclassed")
QUICK = {"steps": 120, "budget": 30.0}


@pytest.fixture(scope="module")
def batch():
    return models.sign_data(16)


def made(keras, form, last="sigmoid", frozen=False):
    keras.utils.set_random_seed(1)
    body = keras.layers.Dense(16, activation="relu", name="body", trainable=not frozen)
    head = keras.layers.Dense(1, activation=last, name="head")
    model = models.in_form(form, (6,), body, head)
    # A cross-entropy would take the logits behind a softmax, and learn.
    loss = "mse" if last == "softmax" else "binary_crossentropy"
    model.compile(keras.optimizers.Adam(0.02), loss)
    return model


def state(model):
    return [w.numpy().tobytes() for w in model.weights], int(model.optimizer.iterations), model.loss


@pytest.mark.parametrize("form", FORMS)
def test_a_healthy_model_passes_unchanged(form, keras, batch):
    model = made(keras, form)
    before = state(model)
    assert_learns(model, batch, **QUICK)
    assert_gradients_flow(model, batch)
    assert_trainable(model, ["body", "head"], batch)
    assert_no_findings(model, batch, severity="error", overfit=False)
    assert state(model) == before


@pytest.mark.parametrize("form", FORMS)
def test_a_model_that_cannot_learn_fails_with_message_place_and_fix(form, keras, batch):
    model = made(keras, form, last="softmax")
    before = state(model)
    checks = {
        assert_learns: QUICK,
        assert_gradients_flow: {},
        assert_no_findings: {"overfit": False},
    }
    for check, more in checks.items():
        with pytest.raises(AssertionError) as failure:
            check(model, batch, **more)
        said = str(failure.value)
        assert "error SD101 single-channel-softmax: " in said
        assert "softmax over an axis of size 1" in said
        assert "Layers: head" in said
        assert "\nFix: " in said
    assert state(model) == before


def test_an_ignored_rule_reports_nothing(keras, batch):
    model = made(keras, "sequential", last="softmax")
    with pytest.raises(AssertionError) as failure:
        assert_gradients_flow(model, batch, ignore="SD101")
    assert "SD101 " not in str(failure.value)


def test_no_findings_accepts_severities_and_ignored_rules(keras, batch):
    model = made(keras, "sequential")
    with pytest.raises(ValueError, match=r"severity must be one of .*, not 'fatal'"):
        assert_no_findings(model, batch, severity="fatal")
    with pytest.raises(SaldiagError, match="SD999"):
        assert_no_findings(model, batch, ["SD999"], overfit=False)
    assert_no_findings(model, batch, ["SD"], overfit=False)


@pytest.mark.parametrize("form", FORMS)
def test_a_model_without_a_loss_is_given_one(form, keras, batch):
    model = made(keras, form)
    model.compiled = False
    assert_gradients_flow(model, batch, loss="binary_crossentropy")
    assert model.compiled is False


@pytest.mark.parametrize("form", FORMS)
def test_trainable_takes_names_patterns_layers_mappings_and_numbers(form, keras):
    model = made(keras, form, frozen=True)
    head = model.get_layer("head")
    for expected in ("head", ["h*d"], [head], head, {"*": False, "head": True}, 17, ["head/bias"]):
        assert_trainable(model, expected)
    wrong = {
        "body/kernel is not trainable: its layer is frozen": ["body"],
        "head/kernel is trainable, but was expected to be frozen": {"*": False},
        "'haed' matches no variable": ["haed"],
        "17 parameters are trainable, not 18": 18,
    }
    for said, expected in wrong.items():
        with pytest.raises(AssertionError, match=said):
            assert_trainable(model, expected)


def test_trainable_reports_a_frozen_parent(keras):
    inner = made(keras, "functional")
    inner.name = "inner"
    outer = models.sequential((6,), inner)
    assert_trainable(outer, ["inner"])
    inner.trainable = False
    inner.get_layer("head").trainable = True
    assert_trainable(outer, {"inner/body": False})


def test_what_is_trainable_and_gets_no_gradient_fails_with_a_batch(keras, batch):
    class Detached(keras.layers.Layer):
        def call(self, inputs):
            return keras.ops.stop_gradient(inputs)

    body = keras.layers.Dense(4, name="body")
    head = keras.layers.Dense(1, activation="sigmoid", name="head")
    model = models.subclassed(body, Detached(), head, shape=(6,))
    model.compile("adam", "binary_crossentropy")
    assert_trainable(model, ["body", "head"])
    assert_trainable(model, ["head"], batch)
    with pytest.raises(AssertionError, match="body/kernel is trainable, but gets no gradient"):
        assert_trainable(model, ["body"], batch)
    with pytest.raises(AssertionError, match="SD"):
        assert_gradients_flow(model, batch)


def test_a_model_that_is_not_built_needs_a_batch(keras, batch):
    model = keras.Sequential([keras.layers.Dense(1, activation="sigmoid", name="head")])
    model.compile("adam", "binary_crossentropy")
    with pytest.raises(SaldiagError, match="not built"):
        assert_trainable(model, ["head"])
    assert_trainable(model, ["head"], batch)
