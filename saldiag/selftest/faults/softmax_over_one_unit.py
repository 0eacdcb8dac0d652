"""A binary classifier whose only output unit has softmax."""

from saldiag.selftest.program import FORMS, Program, chain, compiled, layers, numbers

EXPECT = "SD101"


def _program(form: str, seed: int, activation: str) -> Program:
    head = layers.Dense(1, activation=activation, name="answer")
    model = chain(form, (8,), [layers.Dense(32, activation="relu", name="hidden"), head])
    return Program(compiled(model, "mse"), [numbers(seed)])


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, "softmax")


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, "sigmoid")


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
