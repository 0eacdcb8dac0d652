"""Sequences with a missing measurement, under attention."""

from typing import Any

from saldiag.selftest.program import Program, binary_data, compile_model, keras, layers, np

EXPECT = "SD603"
FORMS = ("functional",)


def _program(seed: int, gap: Any) -> Program:
    x, y = binary_data(seed, 32, 24)
    x = x.reshape(-1, 6, 4).copy()
    x[5, 2, 1] = gap
    inputs = keras.Input((6, 4))
    hidden = layers.Dense(16)(inputs)
    hidden = layers.Add()([hidden, layers.MultiHeadAttention(2, 8)(hidden, hidden)])
    hidden = layers.Flatten()(layers.LayerNormalization()(hidden))
    model = keras.Model(inputs, layers.Dense(1, activation="sigmoid")(hidden))
    return Program(compile_model(model, "binary_crossentropy"), [(x, y)])


def broken(form: str, seed: int) -> Program:
    return _program(seed, np.nan)


def fixed(form: str, seed: int) -> Program:
    return _program(seed, 0.0)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
