"""A model whose call leaves out its second block; nested, that model is a layer of another."""

from typing import Any

from saldiag.selftest.program import Program, compile_model, keras, layers, regression_data

EXPECT = "SD110"
FORMS = ("subclassed", "nested")


class Blocks(keras.Model):
    def __init__(self, units: int, *, second: bool) -> None:
        super().__init__(name="blocks")
        self.first = layers.Dense(32, activation="relu", name="first")
        self.second = layers.Dense(32, activation="relu", name="second")
        self.last = layers.Dense(units, name="last")
        self.uses_second = second

    def call(self, inputs: Any) -> Any:
        x = self.first(inputs)
        if self.uses_second:
            x = self.second(x)
        return self.last(x)


def _program(form: str, seed: int, *, second: bool) -> Program:
    model = Blocks(1, second=second)
    if form == "nested":
        inputs = keras.Input((6,))
        model = keras.Model(inputs, layers.Dense(1)(Blocks(8, second=second)(inputs)))
    return Program(compile_model(model, "mse"), [regression_data(seed)])


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, second=False)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, second=True)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
