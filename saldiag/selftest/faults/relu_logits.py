"""A binary classifier whose logits go through relu: no probability is below 0.5."""

from saldiag.selftest.program import FORMS, Program, chain, compiled, keras, layers, numbers

EXPECT = "SD107"


def _program(form: str, seed: int, activation: str | None) -> Program:
    hidden = layers.Dense(32, activation="relu", name="hidden")
    head = layers.Dense(1, activation=activation, name="answer")
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    return Program(compiled(chain(form, (8,), [hidden, head]), loss), [numbers(seed)])


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, "relu")


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, None)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
