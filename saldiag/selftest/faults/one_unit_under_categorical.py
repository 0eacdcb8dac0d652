"""A binary classifier of one unit, under categorical cross-entropy."""

from saldiag.selftest.program import FORMS, Program, chain, compiled, layers, numbers

EXPECT = "SD107"


def _program(form: str, seed: int, loss: str) -> Program:
    hidden = layers.Dense(32, activation="relu", name="hidden")
    head = layers.Dense(1, activation="sigmoid", name="answer")
    return Program(compiled(chain(form, (8,), [hidden, head]), loss), [numbers(seed)])


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, "categorical_crossentropy")


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, "binary_crossentropy")


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
