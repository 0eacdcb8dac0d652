"""Two heads, and a loss for one of them: None, a weight of 0, or a key that is left out."""

from typing import Any

from saldiag.selftest.program import Program, compile_model, keras, layers, regression_data

EXPECT = "SD118"
FORMS = ("functional", "functional_weight_0", "subclassed", "nested")


class Heads(keras.Model):
    def __init__(self) -> None:
        super().__init__(name="heads")
        self.trunk = layers.Dense(32, activation="relu", name="trunk")
        self.hidden = layers.Dense(16, activation="relu", name="hidden")
        self.one, self.two = layers.Dense(1, name="one"), layers.Dense(1, name="two")

    def call(self, inputs: Any) -> Any:
        x = self.trunk(inputs)
        return {"one": self.one(x), "two": self.two(self.hidden(x))}


def _functional(*, nested: bool) -> Any:
    inputs = keras.Input((6,))
    x = layers.Dense(32, activation="relu", name="trunk")(inputs)
    parts = [layers.Dense(16, activation="relu", name="hidden"), layers.Dense(1, name="last")]
    if nested:
        parts = [keras.Sequential([keras.Input((32,)), *parts], name="two")]
    two: Any = x
    for part in parts:
        two = part(two)
    return keras.Model(inputs, [layers.Dense(1, name="one")(x), two])


def _program(form: str, seed: int, *, whole: bool) -> Program:
    x, y = regression_data(seed)
    if form == "subclassed":
        loss: Any = {"one": "mse", "two": "mse"} if whole else {"one": "mse"}
        return Program(compile_model(Heads(), loss), [(x, {"one": y, "two": -y})])
    model = _functional(nested=form == "nested")
    if form == "functional_weight_0":
        weights = [1.0, 1.0 if whole else 0.0]
        return Program(compile_model(model, ["mse", "mse"], loss_weights=weights), [(x, (y, -y))])
    return Program(compile_model(model, ["mse", "mse" if whole else None]), [(x, (y, -y))])


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, whole=False)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, whole=True)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
