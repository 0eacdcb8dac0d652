"""A training step of one's own that computes gradients and does not apply them; a convolution."""

from typing import Any

import tensorflow as tf

from saldiag.selftest.healthy.pictures import _sized
from saldiag.selftest.program import Chain, Program, compiled, keras, layers

EXPECT = "SD409"
FORMS = ("functional", "subclassed")


class _Stepping:
    """Applies the gradients, or not."""

    applies = True

    def train_step(self: Any, data: Any) -> Any:
        x, y = data
        with tf.GradientTape() as tape:
            loss = self.compute_loss(x=x, y=y, y_pred=self(x, training=True))
        gradients = tape.gradient(loss, self.trainable_variables)
        if self.applies:
            self.optimizer.apply(gradients, self.trainable_variables)
        return {"loss": loss}


class SteppingModel(_Stepping, keras.Model):
    """Given inputs and outputs."""


class SteppingChain(_Stepping, Chain):
    """Calls its layers one after the other."""


def _program(form: str, seed: int, applies: bool) -> Program:
    parts = [
        layers.Conv2D(16, 3, activation="relu"),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dense(3, activation="softmax"),
    ]
    model: Any = SteppingChain(parts, name="chain")
    if form == "functional":
        inputs = outputs = keras.Input((16, 16, 3))
        for part in parts:
            outputs = part(outputs)
        model = SteppingModel(inputs, outputs, name="functional")
    model.applies = applies
    compiled(model, "sparse_categorical_crossentropy", rate=3e-3)
    return Program(model, [_sized(seed)])


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, False)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, True)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
