"""Five classes are told from a hidden layer of one unit."""

from saldiag.selftest.program import FORMS, Program, build_chain, class_data, compile_model, layers

EXPECT = "SD114"


def _program(form: str, seed: int, units: int) -> Program:
    parts = [
        layers.Dense(32, activation="relu", name="first"),
        layers.Dense(units, activation="relu", name="second"),
        layers.Dense(5, activation="softmax", name="answer"),
    ]
    model = compile_model(build_chain(form, (8,), parts), "sparse_categorical_crossentropy")
    return Program(model, [class_data(seed, kinds=5)])


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, 1)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, 16)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
