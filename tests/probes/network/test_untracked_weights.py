"""Weights in the forward pass that Keras does not list."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
import pytest

from tests.support import models

pytestmark = pytest.mark.tensorflow


def _untracked(keep: Any, **flags: Any) -> Any:
    import keras

    from saldiag_probes.survey import survey

    class Block(keras.layers.Layer):
        def __init__(self) -> None:
            super().__init__(name="block")
            dense = keras.layers.Dense(4, name="dense", **flags)
            self.kept = keep(dense)

        def call(self, inputs: Any) -> Any:
            kept = self.kept
            if callable(kept):
                return kept(inputs)
            if isinstance(kept, dict):
                return kept["first"](inputs)
            return kept[0](inputs)

    model = models.compiled(models.sequential((3,), Block(), keras.layers.Dense(1)), "sgd", "mse")
    batch = np.ones((4, 3), "float32"), np.ones((4, 1), "float32")
    return survey(model, batch, activations=False).wiring.untracked


def test_a_layer_in_a_closure_or_a_deque_is_found() -> None:
    for keep in (lambda layer: lambda x: 2.0 * layer(x), lambda layer: deque([layer])):
        (found,) = _untracked(keep)
        assert (found.layer, found.name, found.of_layer) == ("block/dense", "Dense", True)
        assert found.parameters == 3 * 4 + 4


def test_layers_that_keras_tracks_are_not_listed() -> None:
    for keep in (lambda d: d, lambda d: [d], lambda d: (d,), lambda d: {"first": d}):
        assert _untracked(keep) == ()


def test_frozen_layers_and_detached_ones_are_not() -> None:
    import keras

    assert _untracked(lambda layer: lambda x: 2.0 * layer(x), trainable=False) == ()
    assert _untracked(lambda d: lambda x: keras.ops.stop_gradient(d(x)) + x[:, :1]) == ()


def test_a_network_that_only_a_loss_uses_is_not_listed() -> None:
    import keras

    from saldiag_probes.survey import survey

    features = models.dense(2, 4)

    class Measured(keras.layers.Layer):
        def call(self, inputs: Any) -> Any:
            self.add_loss(keras.ops.mean(keras.ops.square(features(inputs))))
            return inputs

    model = models.sequential((3,), keras.layers.Dense(2), Measured())
    model.compile("sgd", "mse", jit_compile=False)
    batch = np.ones((4, 3), "float32"), np.ones((4, 2), "float32")
    assert survey(model, batch, activations=False).wiring.untracked == ()


def test_variables_of_tensorflow_are_found_in_attributes() -> None:
    import keras
    import tensorflow as tf

    from saldiag_probes.survey import survey

    class Scale(keras.layers.Layer):
        def __init__(self) -> None:
            super().__init__(name="scale")
            self.factors = {"used": tf.Variable(tf.ones(3)), "unused": tf.Variable(tf.ones(3))}
            self.fixed = tf.Variable(tf.ones(3), trainable=False)

        def call(self, inputs: Any) -> Any:
            return inputs * self.factors["used"] * self.fixed

    model = models.compiled(models.sequential((3,), Scale(), keras.layers.Dense(1)), "sgd", "mse")
    batch = np.ones((4, 3), "float32"), np.ones((4, 1), "float32")
    (found,) = survey(model, batch, activations=False).wiring.untracked or ()
    assert (found.layer, found.name, found.parameters) == ("scale", "factors", 3)
    assert not found.of_layer
