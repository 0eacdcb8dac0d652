"""Two outputs with a loss each, and relu where one of them takes probabilities."""

from typing import Any

from saldiag.selftest.program import (
    Program,
    class_data,
    compile_model,
    keras,
    layers,
    np,
    regression_data,
)

EXPECT = "SD107"
FORMS = ("functional", "subclassed", "nested")


class Heads(keras.Model):
    def __init__(self, activation: str) -> None:
        super().__init__(name="heads")
        self.trunk = layers.Dense(32, activation="relu", name="trunk")
        self.value = layers.Dense(1, name="value")
        self.kind = layers.Dense(3, activation=activation, name="kind")

    def call(self, inputs: Any) -> Any:
        x = self.trunk(inputs)
        return {"value": self.value(x), "kind": self.kind(x)}


def _functional(activation: str, *, nested: bool) -> Any:
    inputs = keras.Input((14,))
    x = layers.Dense(32, activation="relu", name="trunk")(inputs)
    kind: Any = layers.Dense(3, activation=activation, name="kind")
    if nested:
        parts = [keras.Input((32,)), layers.Dense(16, activation="relu"), kind]
        kind = keras.Sequential(parts, name="kinds")
    return keras.Model(inputs, [layers.Dense(1, name="value")(x), kind(x)])


def _program(form: str, seed: int, activation: str) -> Program:
    (x, kinds), (y, values) = class_data(seed, count=32), regression_data(seed)
    both = np.concatenate([x, y], axis=1)
    losses = ["mse", "sparse_categorical_crossentropy"]
    if form == "subclassed":
        by_name = {"value": losses[0], "kind": losses[1]}
        targets = {"value": values, "kind": kinds}
        return Program(compile_model(Heads(activation), by_name), [(both, targets)])
    model = _functional(activation, nested=form == "nested")
    return Program(compile_model(model, losses), [(both, (values, kinds))])


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, "relu")


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, "softmax")


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
