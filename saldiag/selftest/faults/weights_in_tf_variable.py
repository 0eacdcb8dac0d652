"""A layer's matrix is a tf.Variable, which Keras does not train."""

from typing import Any

import tensorflow as tf

from saldiag.selftest.program import (
    FORMS,
    Program,
    build_chain,
    compile_model,
    keras,
    layers,
    token_data,
)

EXPECT = "SD408"


class Mixing(layers.Layer):
    """Mixes the places of a sequence."""

    def __init__(self, places: int, *, tracked: bool) -> None:
        super().__init__(name="mixing")
        start = keras.initializers.GlorotUniform(seed=1)
        if tracked:
            self.matrix = self.add_weight(shape=(places, places), initializer=start)
        else:
            self.matrix = tf.Variable(start((places, places)))

    def call(self, inputs: Any) -> Any:
        return keras.ops.einsum("btc,ts->bsc", inputs, self.matrix)


def _program(form: str, seed: int, *, tracked: bool) -> Program:
    parts = [
        layers.Embedding(20, 8),
        Mixing(10, tracked=tracked),
        layers.Flatten(),
        layers.Dense(16, activation="tanh"),
        layers.Dense(1, activation="sigmoid"),
    ]
    return Program(
        compile_model(build_chain(form, (10,), parts), "binary_crossentropy"), [token_data(seed)]
    )


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, tracked=False)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, tracked=True)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
