"""BatchNorm behind the sigmoid of a binary classifier."""

from saldiag.selftest.program import FORMS, Program, binary_data, build_chain, compile_model, layers

EXPECT = "SD113"


def _program(form: str, seed: int, *, last: bool) -> Program:
    hidden = layers.Dense(32, activation="relu", name="hidden")
    head = layers.Dense(1, activation="sigmoid", name="answer")
    norm = layers.BatchNormalization(momentum=0.8, name="norm")
    model = build_chain(form, (8,), [hidden, head, norm] if last else [hidden, norm, head])
    return Program(compile_model(model, "binary_crossentropy"), [binary_data(seed)])


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, last=True)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, last=False)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
