"""A Lambda that calls layers of its closure: Keras does not see them."""

from typing import Any

from saldiag.selftest.program import (
    FORMS,
    Program,
    build_chain,
    compile_model,
    keras,
    layers,
    regression_data,
)

EXPECT = "SD408"


class Hidden(layers.Layer):
    """The same with the layers as attributes."""

    def __init__(self) -> None:
        super().__init__(name="hidden")
        self.first = layers.Dense(16, activation="relu", name="first")
        self.second = layers.Dense(16, activation="relu", name="second")

    def call(self, inputs: Any) -> Any:
        return self.second(self.first(inputs))


def _lambda() -> Any:
    first = layers.Dense(16, activation="relu", name="first")
    second = layers.Dense(16, activation="relu", name="second")
    return layers.Lambda(lambda x: second(first(x)), name="hidden")


def _program(form: str, seed: int, hidden: Any) -> Program:
    parts = [layers.Dense(16, activation="tanh"), hidden, layers.Dense(1)]
    model = build_chain(form, (6,), parts)
    model(keras.ops.zeros((1, 6)))
    return Program(compile_model(model, "mse"), [regression_data(seed)])


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, _lambda())


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, Hidden())


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
