"""Labels -1 and 1 under binary cross-entropy from logits."""

from saldiag.selftest.program import (
    FORMS,
    Program,
    binary_data,
    build_chain,
    compile_model,
    keras,
    layers,
)

EXPECT = "SD108"


def _program(form: str, seed: int, *, lowest: float) -> Program:
    x, y = binary_data(seed)
    hidden = layers.Dense(32, activation="relu", name="hidden")
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    model = compile_model(build_chain(form, (8,), [hidden, layers.Dense(1, name="answer")]), loss)
    return Program(model, [(x, lowest + (1 - lowest) * y)])


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, lowest=-1.0)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, lowest=0.0)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
