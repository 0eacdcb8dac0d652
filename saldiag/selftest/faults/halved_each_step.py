"""Exponential decay that halves the rate with each step instead of each tenth epoch; an LSTM."""

import keras

from saldiag.selftest.program import (
    FORMS,
    FitPlan,
    Program,
    build_chain,
    compile_model,
    layers,
    token_data,
)

EXPECT = "SD706"


def _program(form: str, seed: int, decay_steps: int) -> Program:
    schedule = keras.optimizers.schedules.ExponentialDecay(0.01, decay_steps, 0.5)
    parts = [layers.Embedding(20, 8), layers.LSTM(16), layers.Dense(1, activation="sigmoid")]
    model = build_chain(form, (10,), parts)
    compile_model(model, "binary_crossentropy", optimizer=keras.optimizers.Adam(schedule))
    return Program(model, [token_data(seed)], 150, plan=FitPlan(epochs=30, steps_per_epoch=20))


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, 1)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, 200)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
