"""The last layer has softmax, and an Activation after it has it again."""

from saldiag.selftest.attention import READERS, topic_data
from saldiag.selftest.program import Program, build_chain, class_data, compile_model, layers

EXPECT = "SD102"
FORMS = ("functional", "nested", *READERS)


def _program(form: str, seed: int, *, twice: bool) -> Program:
    head = [layers.Dense(3, activation="softmax", name="answer")]
    head += [layers.Activation("softmax", name="again")] if twice else []
    loss = "sparse_categorical_crossentropy"
    if form in READERS:
        return Program(compile_model(READERS[form](head), loss), [topic_data(seed)], 60)
    parts = [layers.Dense(32, activation="relu"), *head]
    return Program(compile_model(build_chain(form, (8,), parts), loss), [class_data(seed)], 60)


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, twice=True)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, twice=False)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
