"""A binary classifier of one unit, under categorical cross-entropy."""

from saldiag.selftest.program import FORMS, Program, binary_data, build_chain, compile_model, layers

EXPECT = "SD107"


def _program(form: str, seed: int, loss: str) -> Program:
    hidden = layers.Dense(32, activation="relu", name="hidden")
    head = layers.Dense(1, activation="sigmoid", name="answer")
    return Program(
        compile_model(build_chain(form, (8,), [hidden, head]), loss), [binary_data(seed)]
    )


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, "categorical_crossentropy")


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, "binary_crossentropy")


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
