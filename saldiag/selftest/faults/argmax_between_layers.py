"""The most likely of eight codes, by argmax and one_hot, is all that the second half gets."""

from typing import Any

from saldiag.selftest.attention import READERS
from saldiag.selftest.program import FORMS as CHAINS
from saldiag.selftest.program import (
    Program,
    binary_data,
    build_chain,
    compile_model,
    keras,
    layers,
    token_data,
)

EXPECT = "SD115"
FORMS = (*CHAINS, *READERS)


class Codes(layers.Layer):
    """The hard choice as a one-hot vector, or the soft one."""

    def __init__(self, *, hard: bool) -> None:
        super().__init__(name="codes")
        self.hard = hard

    def call(self, inputs: Any) -> Any:
        if self.hard:
            return keras.ops.one_hot(keras.ops.argmax(inputs, axis=-1), 16)
        return keras.ops.softmax(inputs, axis=-1) * 4.0


def _program(form: str, seed: int, *, hard: bool) -> Program:
    parts = [
        layers.Dense(32, activation="tanh"),
        layers.Dense(16),
        Codes(hard=hard),
        layers.Dense(32, activation="tanh"),
        layers.Dense(1, activation="sigmoid"),
    ]
    if form in READERS:
        model = READERS[form](parts[1:])
        return Program(compile_model(model, "binary_crossentropy"), [token_data(seed)], 60)
    return Program(
        compile_model(build_chain(form, (8,), parts), "binary_crossentropy"), [binary_data(seed)]
    )


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, hard=True)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, hard=False)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
