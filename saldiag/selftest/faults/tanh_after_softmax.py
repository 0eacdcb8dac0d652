"""Tanh behind the softmax of a classifier."""

from typing import Any

from saldiag.selftest.program import FORMS, Program, build_chain, class_data, compile_model, layers

EXPECT = "SD113"


def _program(form: str, seed: int, *behind: Any) -> Program:
    hidden = layers.Dense(32, activation="relu", name="hidden")
    head = layers.Dense(3, activation="softmax", name="answer")
    model = build_chain(form, (8,), [hidden, head, *behind])
    return Program(compile_model(model, "sparse_categorical_crossentropy"), [class_data(seed)])


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, layers.Activation("tanh", name="again"))


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
