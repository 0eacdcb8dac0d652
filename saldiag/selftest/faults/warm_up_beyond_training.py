"""A warm-up of 10,000 steps before a training of 200; attention over words."""

from typing import Any

import keras

from saldiag.selftest.program import FitPlan, Program, compile_model, layers, token_data

EXPECT = "SD706"
FORMS = ("functional",)


def _program(seed: int, warmup_steps: int) -> Program:
    inputs = keras.Input((10,), dtype="int32")
    x: Any = layers.Embedding(20, 16)(inputs)
    x = layers.LayerNormalization()(layers.Add()([x, layers.MultiHeadAttention(2, 8)(x, x)]))
    outputs = layers.Dense(1, activation="sigmoid")(layers.Flatten()(x))
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, decay_steps=20 * warmup_steps, warmup_target=3e-3, warmup_steps=warmup_steps
    )
    optimizer = keras.optimizers.AdamW(schedule)
    model = compile_model(keras.Model(inputs, outputs), "binary_crossentropy", optimizer=optimizer)
    return Program(model, [token_data(seed)], plan=FitPlan(epochs=10, steps_per_epoch=20))


def broken(form: str, seed: int) -> Program:
    return _program(seed, 10_000)


def fixed(form: str, seed: int) -> Program:
    return _program(seed, 10)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
