"""Two inputs, and the first one's features are joined with themselves."""

from typing import Any

from saldiag.selftest.program import Program, compile_model, keras, layers, regression_data

EXPECT = ("SD119", "SD110")
FORMS = ("functional", "subclassed", "nested")


class Towers(keras.Model):
    def __init__(self, *, both: bool) -> None:
        super().__init__(name="towers")
        self.left = layers.Dense(32, activation="relu", name="left")
        self.right = layers.Dense(32, activation="relu", name="right")
        self.head = layers.Dense(1, name="head")
        self.both = both

    def call(self, inputs: Any) -> Any:
        left, right = self.left(inputs[0]), self.right(inputs[1])
        return self.head(keras.ops.concatenate([left, right if self.both else left], -1))


def _tower(form: str, name: str) -> Any:
    dense = layers.Dense(32, activation="relu", name=f"{name}_dense")
    return keras.Sequential([keras.Input((3,)), dense], name=name) if form == "nested" else dense


def _program(form: str, seed: int, *, both: bool) -> Program:
    x, y = regression_data(seed)
    if form == "subclassed":
        model: Any = Towers(both=both)
    else:
        one, two = keras.Input((3,), name="one"), keras.Input((3,), name="two")
        left, right = _tower(form, "left")(one), _tower(form, "right")(two)
        joined = layers.Concatenate()([left, right if both else left])
        model = keras.Model([one, two], layers.Dense(1)(joined))
    return Program(compile_model(model, "mse"), [((x[:, :3], x[:, 3:]), y)])


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, both=False)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, both=True)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
