"""A subclassed model whose hidden layer comes from ``tensorflow.python.keras``."""

from typing import Any

import keras
from tensorflow.python.keras import layers as older

from saldiag.selftest.program import Program, binary_data, compile_model, layers

EXPECT = "SD903"
FORMS = ("subclassed",)


class Mixed(keras.Model):
    def __init__(self, hidden: Any) -> None:
        super().__init__()
        self.hidden = hidden
        self.answer = layers.Dense(1, activation="sigmoid")

    def call(self, inputs: Any) -> Any:
        return self.answer(self.hidden(inputs))


def broken(form: str, seed: int) -> Program:
    model = Mixed(older.Dense(32, activation="relu"))
    return Program(compile_model(model, "binary_crossentropy"), [binary_data(seed)])


def fixed(form: str, seed: int) -> Program:
    model = Mixed(layers.Dense(32, activation="relu"))
    return Program(compile_model(model, "binary_crossentropy"), [binary_data(seed)])


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
