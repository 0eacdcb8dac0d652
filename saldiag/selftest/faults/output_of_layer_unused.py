"""The residual block's result is forgotten: the head takes what went into it."""

from typing import Any

from saldiag.selftest.program import Program, compile_model, keras, layers, regression_data

EXPECT = "SD110"
FORMS = ("subclassed", "nested")


class Residual(keras.Model):
    def __init__(self, units: int, *, use: bool) -> None:
        super().__init__(name="residual")
        self.stem = layers.Dense(32, activation="relu", name="stem")
        self.inner = layers.Dense(32, activation="relu", name="inner")
        self.last = layers.Dense(units, name="last")
        self.use = use

    def call(self, inputs: Any) -> Any:
        x = self.stem(inputs)
        y = x + self.inner(x)
        return self.last(y if self.use else x)


def _program(form: str, seed: int, *, use: bool) -> Program:
    model = Residual(1, use=use)
    if form == "nested":
        inputs = keras.Input((6,))
        model = keras.Model(inputs, layers.Dense(1)(Residual(8, use=use)(inputs)))
    return Program(compile_model(model, "mse"), [regression_data(seed)])


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, use=False)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, use=True)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
