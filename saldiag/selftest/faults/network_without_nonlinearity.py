"""A binary classifier with two hidden layers that lack their activation."""

from saldiag.selftest.program import FORMS, Program, binary_data, build_chain, compile_model, layers

EXPECT = "SD109"


def _program(form: str, seed: int, activation: str | None) -> Program:
    parts = [
        layers.Dense(32, activation=activation, name="first"),
        layers.Dense(32, activation=activation, name="second"),
        layers.Dense(1, activation="sigmoid", name="answer"),
    ]
    data = [binary_data(seed, count=96, width=4)]
    return Program(compile_model(build_chain(form, (4,), parts), "binary_crossentropy"), data)


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, None)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, "relu")


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
