"""Softmax over three classes under MSE, and class numbers (n, 1) for targets."""

from saldiag.selftest.attention import READERS, topic_data
from saldiag.selftest.program import FORMS as CHAINS
from saldiag.selftest.program import Program, build_chain, class_data, compile_model, layers

EXPECT = "SD108"
FORMS = (*CHAINS, *READERS)


def _program(form: str, seed: int, loss: str) -> Program:
    head = layers.Dense(3, activation="softmax", name="answer")
    if form in READERS:
        words, topic = topic_data(seed)
        return Program(compile_model(READERS[form]([head]), loss), [(words, topic[:, None])], 40)
    x, kinds = class_data(seed)
    hidden = layers.Dense(32, activation="relu", name="hidden")
    return Program(
        compile_model(build_chain(form, (8,), [hidden, head]), loss), [(x, kinds[:, None])]
    )


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, "mse")


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, "sparse_categorical_crossentropy")


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
