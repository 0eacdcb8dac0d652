"""Biases of -20 before a relu: no unit is above 0 for any sample, and none will ever be."""

from saldiag.selftest.attention import Block, transformer_model
from saldiag.selftest.program import (
    Program,
    binary_data,
    build_chain,
    compile_model,
    keras,
    layers,
    token_data,
)

EXPECT = "SD301"
FORMS = ("functional", "nested", "attention")


def _program(form: str, seed: int, bias: float) -> Program:
    head = layers.Dense(1, activation="sigmoid")
    if form == "attention":
        model = compile_model(
            transformer_model([head], Block(bias=bias)), "binary_crossentropy", rate=3e-3
        )
        return Program(model, [token_data(seed)], 60)
    start = keras.initializers.Constant(bias)
    parts = [
        layers.Dense(32, activation="tanh"),
        layers.Dense(32, activation="relu", bias_initializer=start, name="dead"),
        head,
    ]
    return Program(
        compile_model(build_chain(form, (8,), parts), "binary_crossentropy"),
        [binary_data(seed)],
        100,
    )


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, -20.0)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, 0.0)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
