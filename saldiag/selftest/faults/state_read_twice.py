"""Two readers of a sequence are the same GRU, and their states are added."""

from typing import Any

from saldiag.selftest.program import Program, compile_model, keras, layers, token_data

EXPECT = "SD116"
FORMS = ("functional", "subclassed")


class Readers(keras.Model):
    def __init__(self, *, shared: bool) -> None:
        super().__init__(name="readers")
        self.words = layers.Embedding(20, 8, name="words")
        self.first = layers.GRU(16, name="first")
        self.second = self.first if shared else layers.GRU(16, name="second")
        self.last = layers.Dense(1, activation="sigmoid", name="last")

    def call(self, inputs: Any) -> Any:
        x = self.words(inputs)
        return self.last(self.first(x) + self.second(x))


def _program(form: str, seed: int, *, shared: bool) -> Program:
    readers = Readers(shared=shared)
    model: Any = readers
    if form == "functional":
        inputs = keras.Input((10,))
        x = readers.words(inputs)
        both = layers.Add()([readers.first(x), readers.second(x)])
        model = keras.Model(inputs, readers.last(both))
    return Program(compile_model(model, "binary_crossentropy"), [token_data(seed)])


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, shared=True)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, shared=False)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
