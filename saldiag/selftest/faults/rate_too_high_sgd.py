"""Plain SGD with a learning rate of 100: a regression blows up within a few steps."""

import keras

from saldiag.selftest.program import FORMS, Program, chain, compiled, curve, layers

EXPECT = "SD701"


def _program(form: str, seed: int, rate: float) -> Program:
    parts = [layers.Dense(32, activation="relu", name="hidden"), layers.Dense(1, name="answer")]
    model = chain(form, (6,), parts)
    return Program(compiled(model, "mse", optimizer=keras.optimizers.SGD(rate)), [curve(seed)])


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, 100.0)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, 0.05)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
