"""A classification head whose weights start a hundred times too wide."""

import keras

from saldiag.selftest.program import FORMS, Program, build_chain, class_data, compile_model, layers

EXPECT = "SD705"


def _program(form: str, seed: int, spread: float) -> Program:
    wide = keras.initializers.RandomNormal(stddev=spread, seed=seed)
    parts = [
        layers.Dense(32, activation="relu"),
        layers.Dense(3, activation="softmax", kernel_initializer=wide, name="answer"),
    ]
    model = compile_model(build_chain(form, (8,), parts), "sparse_categorical_crossentropy")
    return Program(model, [class_data(seed)])


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, 30.0)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, 0.2)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
