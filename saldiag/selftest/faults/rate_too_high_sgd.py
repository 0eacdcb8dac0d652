"""Plain SGD with a learning rate of 100: a regression blows up within a few steps."""

import keras

from saldiag.selftest.program import (
    FORMS,
    Program,
    build_chain,
    compile_model,
    layers,
    regression_data,
)

EXPECT = "SD701"


def _program(form: str, seed: int, rate: float) -> Program:
    parts = [layers.Dense(32, activation="relu", name="hidden"), layers.Dense(1, name="answer")]
    model = build_chain(form, (6,), parts)
    return Program(
        compile_model(model, "mse", optimizer=keras.optimizers.SGD(rate)), [regression_data(seed)]
    )


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, 100.0)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, 0.05)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
