"""Changes of inputs and targets that explain a validation error, tried on small models."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from saldiag.experiments.overfit.mode_errors import ModeErrors
from saldiag.experiments.validation.corrections import Corrections
from saldiag.experiments.validation.item_errors import ItemErrors
from saldiag_probes.hooks.batch_tap import BatchTap
from tests.support import models

pytestmark = pytest.mark.tensorflow


def test_each_of_several_inputs_is_changed_by_itself():
    image, table = keras.Input((4,), name="image"), keras.Input((2,), name="table")
    hidden = keras.layers.Concatenate()([image, table])
    model = keras.Model([image, table], keras.layers.Dense(1)(hidden))
    model.compile("adam", "mse", jit_compile=False)
    random = np.random.default_rng(0)
    x = [random.random((16, n)).astype("float32") for n in (4, 2)]
    y = model.predict(x, verbose=0)
    good = (tuple(map(tf.constant, x)), tf.constant(y))
    bad = ((tf.constant(255 * x[0]), tf.constant(x[1])), tf.constant(y))
    errors = ModeErrors(model, [good])
    predictions = errors.on_batches([bad]).predict(training=False)
    tried = Corrections(errors, [good], [bad], predictions).find_corrections()["corrections"]
    best = min(tried, key=lambda change: change.error)
    assert (best.change, best.input) == ("x / 255", "0")
    assert best.error < 1e-6


@pytest.mark.parametrize(("count", "tried"), [(8, False), (256, True)])
def test_moments_of_few_items_lie_apart_by_chance(count, tried):
    model = models.compiled(models.dense(4, 1), "adam", "mse")
    random = np.random.default_rng(0)
    x = random.normal(size=(256, 4)).astype("float32")
    held = x[:count] - x[:count].mean(0) + 0.9
    y = np.zeros((256, 1), "float32")
    one, other = (tf.constant(x), tf.constant(y)), (tf.constant(held), tf.constant(y[:count]))
    errors = ModeErrors(model, [one])
    predictions = errors.on_batches([other]).predict(training=False)
    changes = Corrections(errors, [one], [other], predictions).find_corrections()["corrections"]
    assert any(change.kind == "inputs" for change in changes) == tried


def test_logits_are_paired_with_the_masks_that_they_show():
    model = models.dense(16, 16)
    model.compile("adam", keras.losses.BinaryCrossentropy(from_logits=True), jit_compile=False)
    masks = (np.random.default_rng(0).random((24, 16)) < 0.3).astype("float32")
    batch = (tf.constant(masks), tf.constant(masks[np.random.default_rng(1).permutation(24)]))
    logits = 8 * masks - 5
    tried = Corrections(ModeErrors(model, [batch]), [batch], [batch], [logits]).find_corrections()
    assert tried["paired_with_other"] > 0.8
    assert tried["paired_with_own"] < 0.1


def test_a_loss_that_compares_items_has_no_errors_by_item():
    def pairs(y, embedded):
        return keras.ops.mean(keras.ops.abs(embedded[:, None] - embedded[None]), axis=(1, 2))

    model = models.compiled(models.dense(2, 3), "adam", pairs)
    x = np.random.default_rng(0).normal(size=(8, 2)).astype("float32")
    batch = (tf.constant(x), tf.zeros((8, 1)))
    outcome = ModeErrors(model, [batch]).batch_outcomes(training=False)[0]
    assert not len(ItemErrors(model)([batch], [outcome.predictions], outcome.plain))


def test_the_tap_counts_what_it_does_not_buffer():
    model = models.compiled(models.dense(2, 1), "adam", "mse")
    tap, x = BatchTap("test_function", max_items=16), np.zeros((48, 2), "float32")

    class Tapping(keras.callbacks.Callback):
        def on_test_begin(self, logs=None):
            tap.attach(model)

        def on_test_end(self, logs=None):
            tap.detach()

    model.evaluate(x, x[:, :1], batch_size=8, verbose=0, callbacks=[Tapping()])
    assert len(tap.batches) == 2
    assert tap.items == 48
