"""Adam with a learning rate of 1e-9: the loss stands still."""

from saldiag.selftest.program import FORMS, Program, build_chain, class_data, compile_model, layers

EXPECT = "SD702"


def _program(form: str, seed: int, rate: float) -> Program:
    parts = [layers.Dense(32, activation="relu"), layers.Dense(3, activation="softmax")]
    model = build_chain(form, (8,), parts)
    return Program(
        compile_model(model, "sparse_categorical_crossentropy", rate=rate), [class_data(seed)], 60
    )


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, 1e-9)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, 1e-2)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
