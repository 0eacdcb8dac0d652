"""A classifier of three classes that ends in relu."""

from saldiag.selftest.program import FORMS, Program, build_chain, class_data, compile_model, layers

EXPECT = "SD107"


def _program(form: str, seed: int, activation: str) -> Program:
    hidden = layers.Dense(32, activation="relu", name="hidden")
    head = layers.Dense(3, activation=activation, name="answer")
    model = compile_model(
        build_chain(form, (8,), [hidden, head]), "sparse_categorical_crossentropy"
    )
    return Program(model, [class_data(seed)])


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, "relu")


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, "softmax")


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
