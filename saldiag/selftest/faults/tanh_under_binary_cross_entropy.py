"""A binary classifier that ends in tanh; labels are 0 and 1."""

from saldiag.selftest.program import FORMS, Program, binary_data, build_chain, compile_model, layers

EXPECT = "SD107"


def _program(form: str, seed: int, activation: str) -> Program:
    hidden = layers.Dense(32, activation="relu", name="hidden")
    head = layers.Dense(1, activation=activation, name="answer")
    model = compile_model(build_chain(form, (8,), [hidden, head]), "binary_crossentropy")
    return Program(model, [binary_data(seed)])


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, "tanh")


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, "sigmoid")


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
