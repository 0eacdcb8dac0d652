"""Feature maps are made binary by a comparison, between the convolutions of a segmentation."""

from typing import Any

from saldiag.selftest.program import Program, compile_model, keras, layers, mask_data

EXPECT = "SD115"
FORMS = ("functional", "subclassed", "nested")


class Binary(keras.Model):
    def __init__(self, *, hard: bool) -> None:
        super().__init__(name="binary")
        self.first = layers.Conv2D(8, 3, padding="same", name="first")
        self.last = layers.Conv2D(8, 3, padding="same", activation="relu", name="last")
        self.hard = hard

    def call(self, inputs: Any) -> Any:
        return self.last(_edges(self.first(inputs), hard=self.hard))


def _edges(x: Any, *, hard: bool) -> Any:
    return keras.ops.cast(x > 0.0, "float32") if hard else keras.ops.sigmoid(4.0 * x)


def _program(form: str, seed: int, *, hard: bool) -> Program:
    inputs = keras.Input((16, 16, 3))
    head = layers.Conv2D(1, 1, activation="sigmoid", name="head")
    model: Any
    if form == "functional":
        x = _edges(layers.Conv2D(8, 3, padding="same", name="first")(inputs), hard=hard)
        x = layers.Conv2D(8, 3, padding="same", activation="relu", name="last")(x)
        model = keras.Model(inputs, head(x))
    elif form == "nested":
        model = keras.Model(inputs, head(Binary(hard=hard)(inputs)))
    else:
        model = keras.Sequential([Binary(hard=hard), head])
    return Program(compile_model(model, "binary_crossentropy"), [mask_data(seed)], 60)


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, hard=True)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, hard=False)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
