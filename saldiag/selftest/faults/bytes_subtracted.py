"""Steps between neighbours in a sequence of bytes, taken in bytes: those downward become high."""

from __future__ import annotations

from typing import Any

from saldiag.selftest.program import Program, compile_model, keras, layers, np

EXPECT = "SD506"
FORMS = ("functional", "subclassed")


class _Steps(layers.Layer):
    """Differences of neighbours, a tenth of each."""

    def __init__(self, *, floats: bool) -> None:
        super().__init__(name="steps")
        self.floats = floats

    def call(self, inputs: Any) -> Any:
        x = keras.ops.cast(inputs, "float32") if self.floats else inputs
        return keras.ops.cast(x[:, 1:] - x[:, :-1], "float32") / (10.0 if self.floats else 100.0)


class _Model(keras.Model):
    """A recurrent layer over the steps."""

    def __init__(self, *, floats: bool) -> None:
        super().__init__(name="over_steps")
        self.steps = _Steps(floats=floats)
        self.recurrent = layers.GRU(24, name="gru")
        self.head = layers.Dense(1, activation="sigmoid", name="head")

    def call(self, inputs: Any) -> Any:
        return self.head(self.recurrent(self.steps(inputs)))


def _program(form: str, seed: int, *, floats: bool) -> Program:
    random = np.random.default_rng(seed)
    steps = random.integers(-10, 11, size=(32, 12, 2))
    x = (128 + np.cumsum(steps, axis=1)).astype("uint8")
    y = (steps[:, -3:, :1].sum(axis=1) > 0).astype("float32")
    model: Any = _Model(floats=floats)
    if form == "functional":
        inputs = keras.Input((12, 2), dtype="uint8")
        model = keras.Model(inputs, model.head(model.recurrent(model.steps(inputs))))
    return Program(compile_model(model, "binary_crossentropy"), [(x, y)])


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, floats=False)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, floats=True)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
