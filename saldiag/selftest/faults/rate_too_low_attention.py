"""Attention over words, under AdamW with a learning rate of 1e-9."""

from typing import Any

from saldiag.selftest.program import Program, compile_model, keras, layers, token_data

EXPECT = "SD702"
FORMS = ("functional",)


def _program(seed: int, rate: float) -> Program:
    inputs = keras.Input((10,), dtype="int32")
    x: Any = layers.Embedding(20, 16)(inputs)
    x = layers.LayerNormalization()(layers.Add()([x, layers.MultiHeadAttention(2, 8)(x, x)]))
    outputs = layers.Dense(1, activation="sigmoid")(layers.Flatten()(x))
    optimizer = keras.optimizers.AdamW(rate)
    model = compile_model(keras.Model(inputs, outputs), "binary_crossentropy", optimizer=optimizer)
    return Program(model, [token_data(seed)], 100)


def broken(form: str, seed: int) -> Program:
    return _program(seed, 1e-9)


def fixed(form: str, seed: int) -> Program:
    return _program(seed, 3e-3)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
