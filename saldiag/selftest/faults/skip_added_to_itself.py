"""The skip connection is added to itself: what the block of convolutions gives is forgotten."""

from typing import Any

from saldiag.selftest.program import Program, compile_model, keras, layers, mask_data

EXPECT = "SD110"
FORMS = ("subclassed", "nested")


class Residual(keras.Model):
    def __init__(self, *, use: bool) -> None:
        super().__init__(name="residual")
        self.stem = layers.Conv2D(8, 3, padding="same", activation="relu", name="stem")
        self.block = layers.Conv2D(8, 3, padding="same", activation="relu", name="block")
        self.last = layers.Conv2D(1, 1, activation="sigmoid", name="last")
        self.use = use

    def call(self, inputs: Any) -> Any:
        skip = self.stem(inputs)
        x = self.block(skip)
        return self.last(keras.ops.add(skip, x if self.use else skip))


def _program(form: str, seed: int, *, use: bool) -> Program:
    model: Any = Residual(use=use)
    if form == "nested":
        inputs = keras.Input((16, 16, 3))
        model = keras.Model(inputs, Residual(use=use)(inputs))
    return Program(compile_model(model, "binary_crossentropy"), [mask_data(seed)], 60)


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, use=False)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, use=True)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
