"""A training step of one's own that multiplies the gradient of one layer's kernel by 10,000."""

from typing import Any

import keras
import tensorflow as tf

from saldiag.selftest.healthy.pictures import _sized
from saldiag.selftest.program import Chain, Program, compiled, layers

EXPECT = "SD205"
FORMS = ("functional", "subclassed")


class _Scaling:
    """Scales the gradient of the second layer's kernel."""

    factor = 1.0

    def train_step(self: Any, data: Any) -> Any:
        x, y = data
        with tf.GradientTape() as tape:
            loss = self.compute_loss(x=x, y=y, y_pred=self(x, training=True))
        variables = self.trainable_variables
        gradients = tape.gradient(loss, variables)
        gradients[2] = self.factor * gradients[2]
        self.optimizer.apply(gradients, variables)
        return {"loss": loss}


class ScalingModel(_Scaling, keras.Model):
    """Given inputs and outputs."""


class ScalingChain(_Scaling, Chain):
    """Calls its layers one after the other."""


def _parts() -> list[Any]:
    return [
        layers.Conv2D(16, 3, activation="relu"),
        layers.Conv2D(32, 3, strides=2, activation="relu"),
        layers.Flatten(),
        layers.Dense(16, activation="relu"),
        layers.Dense(3, activation="softmax"),
    ]


def _functional() -> Any:
    inputs = outputs = keras.Input((16, 16, 3))
    for part in _parts():
        outputs = part(outputs)
    return ScalingModel(inputs, outputs, name="functional")


def _program(form: str, seed: int, factor: float) -> Program:
    model = _functional() if form == "functional" else ScalingChain(_parts(), name="chain")
    model.factor = factor
    optimizer = keras.optimizers.SGD(0.01, momentum=0.9)
    compiled(model, "sparse_categorical_crossentropy", optimizer=optimizer)
    return Program(model, [_sized(seed)], 200)


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, 1e4)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, 1.0)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
