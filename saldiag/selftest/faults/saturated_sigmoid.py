"""A hidden sigmoid layer with a bias so negative that every unit sits at 0."""

import keras

from saldiag.selftest.program import FORMS, Program, binary_data, build_chain, compile_model, layers

EXPECT = "SD304"


def _program(form: str, seed: int, bias: float) -> Program:
    start = keras.initializers.Constant(bias)
    parts = [
        layers.Dense(32, activation="sigmoid", bias_initializer=start),
        layers.Dense(16, activation="relu"),
        layers.Dense(1, activation="sigmoid"),
    ]
    return Program(compile_model(build_chain(form, (8,), parts), "mse"), [binary_data(seed)])


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, -30.0)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, 0.0)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
