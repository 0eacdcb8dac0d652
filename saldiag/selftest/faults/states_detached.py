"""stop_gradient on what a GRU gives: its weights stay as they started."""

from typing import Any

from saldiag.selftest.program import (
    FORMS,
    Program,
    build_chain,
    compile_model,
    keras,
    layers,
    token_data,
)

EXPECT = "SD115"


class Detached(layers.Layer):
    def __init__(self, *, stop: bool) -> None:
        super().__init__(name="detached")
        self.stop = stop

    def call(self, inputs: Any) -> Any:
        return keras.ops.stop_gradient(inputs) if self.stop else inputs


def _program(form: str, seed: int, *, stop: bool) -> Program:
    parts = [
        layers.Embedding(20, 8),
        layers.GRU(16),
        Detached(stop=stop),
        layers.Dense(16, activation="tanh"),
        layers.Dense(1, activation="sigmoid"),
    ]
    return Program(
        compile_model(build_chain(form, (10,), parts), "binary_crossentropy"), [token_data(seed)]
    )


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, stop=True)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, stop=False)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
