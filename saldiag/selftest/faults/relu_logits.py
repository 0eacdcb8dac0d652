"""A binary classifier whose logits go through relu: no probability is below 0.5."""

from saldiag.selftest.program import (
    FORMS,
    Program,
    binary_data,
    build_chain,
    compile_model,
    keras,
    layers,
)

EXPECT = "SD107"


def _program(form: str, seed: int, activation: str | None) -> Program:
    hidden = layers.Dense(32, activation="relu", name="hidden")
    head = layers.Dense(1, activation=activation, name="answer")
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    return Program(
        compile_model(build_chain(form, (8,), [hidden, head]), loss), [binary_data(seed)]
    )


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, "relu")


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, None)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
