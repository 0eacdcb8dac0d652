"""A decay that has come to its end before the first step: a schedule in epochs, not in steps."""

import keras

from saldiag.selftest.program import (
    FORMS,
    Program,
    build_chain,
    compile_model,
    layers,
    regression_data,
)

EXPECT = "SD702"


def _program(form: str, seed: int, boundary: int) -> Program:
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([boundary], [0.01, 0.0])
    model = build_chain(form, (6,), [layers.Dense(64, activation="relu"), layers.Dense(1)])
    compile_model(model, "mse", optimizer=keras.optimizers.SGD(schedule, momentum=0.9))
    return Program(model, [regression_data(seed)], 60 if boundary < 0 else 150)


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, -1)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, 10_000)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
