"""Samples with none, one or several of four labels, and softmax over the four."""

from saldiag.selftest.program import FORMS, Program, binary_data, build_chain, compile_model, layers

EXPECT = "SD107"


def _program(form: str, seed: int, activation: str) -> Program:
    x, _ = binary_data(seed)
    hidden = layers.Dense(32, activation="relu", name="hidden")
    head = layers.Dense(4, activation=activation, name="answer")
    model = compile_model(build_chain(form, (8,), [hidden, head]), "binary_crossentropy")
    return Program(model, [(x, (x[:, :4] > 0).astype("float32"))])


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, "softmax")


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, "sigmoid")


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
