"""A training step of one's own that takes the gradient of minus the loss; an LSTM."""

from typing import Any

import tensorflow as tf

from saldiag.selftest.program import Chain, Program, compiled, keras, layers, sentences

EXPECT = "SD707"
FORMS = ("functional", "subclassed")


class _Stepping:
    """Its steps go down the gradient of ``sign`` times the loss."""

    sign = 1.0

    def train_step(self: Any, data: Any) -> Any:
        x, y = data
        with tf.GradientTape() as tape:
            loss = self.compute_loss(x=x, y=y, y_pred=self(x, training=True))
            aim = self.sign * loss
        gradients = tape.gradient(aim, self.trainable_variables)
        self.optimizer.apply(gradients, self.trainable_variables)
        return {"loss": loss}


class SteppingModel(_Stepping, keras.Model):
    """Given inputs and outputs."""


class SteppingChain(_Stepping, Chain):
    """Calls its layers one after the other."""


def _program(form: str, seed: int, sign: float) -> Program:
    parts = [layers.Embedding(20, 16), layers.LSTM(16), layers.Dense(1, activation="sigmoid")]
    model: Any = SteppingChain(parts, name="chain")
    if form == "functional":
        inputs = outputs = keras.Input((10,), dtype="int32")
        for part in parts:
            outputs = part(outputs)
        model = SteppingModel(inputs, outputs, name="functional")
    model.sign = sign
    return Program(compiled(model, "mse", rate=3e-3), [sentences(seed)], 200)


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, -1.0)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, 1.0)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
