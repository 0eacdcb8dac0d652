"""A classifier that drops half of its predictions while it trains."""

from saldiag.selftest.program import FORMS, Program, build_chain, class_data, compile_model, layers

EXPECT = "SD112"


def _program(form: str, seed: int, *, last: bool) -> Program:
    hidden = layers.Dense(32, activation="relu", name="hidden")
    head = layers.Dense(3, activation="softmax", name="answer")
    drop = layers.Dropout(0.5, seed=seed, name="drop")
    model = build_chain(form, (8,), [hidden, head, drop] if last else [hidden, drop, head])
    return Program(compile_model(model, "sparse_categorical_crossentropy"), [class_data(seed)])


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, last=True)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, last=False)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
